//! The events whose fields are known: those of Linux's `events/vmalloc` with Linux's fields, probes on the calls as
//! `bench/traces/README.md` has them, and this kernel's own.

/// An event, and how Linux's tracefs prints what stands behind its name.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// The system that it is of.
    pub system: &'static str,
    /// Its name in a trace of text.
    pub name: &'static str,
    /// Its name in `trace.dat`, which no other event has.
    pub event: &'static str,
    /// How its fields are printed: `%` and `lu`, `ld`, `lx`, `u`, `d` or `s`.
    pub print: &'static str,
    /// The names of its fields, in the order in which they are printed.
    pub fields: &'static [&'static str],
}

const fn linux(name: &'static str, print: &'static str, fields: &'static [&'static str]) -> Known {
    Known { system: "vmalloc", name, event: name, print, fields }
}

const fn probe(name: &'static str, print: &'static str, fields: &'static [&'static str]) -> Known {
    Known { system: "kprobes", name, event: name, print, fields }
}

/// Where the call comes from, which Linux writes as a function and this kernel as a line of source.
const CALLER: &str = "caller";

/// All of them.
pub const KNOWN: [Known; 20] = [
    linux(
        "alloc_vmap_area",
        "va_start: %lu size=%lu align=%lu vstart=0x%lx vend=0x%lx failed=%d",
        &["addr", "size", "align", "vstart", "vend", "failed"],
    ),
    linux("purge_vmap_area_lazy", "start=0x%lx end=0x%lx num_purged=%u", &["start", "end", "npurged"]),
    linux(
        "free_vmap_area_noflush",
        "va_start=0x%lx nr_lazy=%lu nr_lazy_max=%lu",
        &["va_start", "nr_lazy", "nr_lazy_max"],
    ),
    probe("valloc", "(%s) size=%lu align=%lu", &[CALLER, "size", "align"]),
    probe("valloc_ret", "(%s) addr=0x%lx", &[CALLER, "addr"]),
    probe("vfree", "(%s) addr=0x%lx", &[CALLER, "addr"]),
    probe("vmap", "(%s) count=%u", &[CALLER, "count"]),
    probe("vmap_ret", "(%s) addr=0x%lx", &[CALLER, "addr"]),
    probe("vunmap", "(%s) addr=0x%lx", &[CALLER, "addr"]),
    probe("vm_map_ram", "(%s) count=%u", &[CALLER, "count"]),
    probe("vm_map_ram_ret", "(%s) addr=0x%lx", &[CALLER, "addr"]),
    probe("vm_unmap_ram", "(%s) addr=0x%lx count=%u", &[CALLER, "addr", "count"]),
    probe("vm_unmap_aliases", "(%s)", &[CALLER]),
    linux("vmalloc_purge_begin", "(%s) waiting=%ld", &[CALLER, "waiting"]),
    linux("vmalloc_purge_end", "freed=%lu", &["freed"]),
    linux("vmalloc_flush", "(%s) pages=%lu", &[CALLER, "pages"]),
    Known { event: "vmalloc_flush_all", ..linux("vmalloc_flush", "(%s) all", &[CALLER]) },
    linux("vmalloc_sample", "calls=%lu", &["calls"]),
    linux(
        "vmalloc_block",
        "first=%lu blocks=%lu live=%lu parked=%lu dirty=%lu flushing=%lu cached=%lu guard=%lu",
        &["first", "blocks", "live", "parked", "dirty", "flushing", "cached", "guard"],
    ),
    linux("vmalloc_sampled", "calls=%lu", &["calls"]),
];

/// What is known of any other event: that there is text behind its name.
pub const TEXT: Known = Known { system: "text", name: "", event: "", print: "%s", fields: &["text"] };
