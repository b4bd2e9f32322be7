//! Events as Linux's tracefs writes them in its file `trace`, by Linux's names and fields, so that what reads that reads
//! this: its own events of `events/vmalloc`, and probes on the calls as `bench/traces/README.md` has them.
//!
//! Beside them there are events of our own, which begin with `vmalloc_`. What Linux tells and this kernel does not know is
//! made of what was traced: a purge says how many areas were freed since the one before, and between which addresses.

use super::{Record, Who};
use crate::arch::tsc;
use core::{fmt, ops::Range, panic::Location};
use vmalloc::{Event, Kind, PAGE_SIZE};

/// Writes events as lines of text.
#[derive(Debug)]
pub struct Ftrace {
    range: Range<usize>,
    /// The limit on the pages that wait for a flush.
    lazy_max: usize,
    freed: Freed,
    /// What was freed before the purge that is under way.
    purging: Freed,
}

/// Areas that were freed: between which addresses, and how many.
#[derive(Debug)]
struct Freed {
    start: usize,
    end: usize,
    areas: u64,
}

impl Freed {
    const NONE: Self = Self { start: usize::MAX, end: 0, areas: 0 };
}

/// What stands above the events.
const HEAD: &str = "\
#
#                                _-----=> irqs-off/BH-disabled
#                               / _----=> need-resched
#                              | / _---=> hardirq/softirq
#                              || / _--=> preempt-depth
#                              ||| / _-=> migrate-disable
#                              |||| /     delay
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
";

/// Writes what stands above `kept` events of `written`, if so many are known, of `cpus` CPUs.
///
/// # Errors
/// Those of `out`.
pub fn write_head(out: &mut dyn fmt::Write, counts: Option<(u64, u64)>, cpus: usize) -> fmt::Result {
    out.write_str("# tracer: nop\n")?;
    match counts {
        Some((kept, written)) => {
            writeln!(out, "#\n# entries-in-buffer/entries-written: {kept}/{written}   #P:{cpus}")?;
        }
        None => writeln!(out, "#\n# #P:{cpus}")?,
    }
    out.write_str(HEAD)
}

impl Ftrace {
    /// Begins to write events of an instance that has this range, and this limit on the pages that wait for a flush.
    #[must_use]
    pub const fn new(range: Range<usize>, lazy_max: usize) -> Self {
        Self { range, lazy_max, freed: Freed::NONE, purging: Freed::NONE }
    }

    /// Writes the lines of an event.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&mut self, record: &Record, out: &mut dyn fmt::Write) -> fmt::Result {
        let mut line = Line { record, out };
        match record.event {
            Event::Allocate { address, pages, size, align, kind, caller } => {
                line.call(kind, pages, size, align, caller)?;
                // Linux has blocks of address space for these.
                if kind != Kind::VmMapRam {
                    let (space, range) = ((pages + 1) * PAGE_SIZE, &self.range);
                    line.write(format_args!(
                        "{}",
                        AllocArea { address, space, align, range, failed: false }
                    ))?;
                }
                match probe(kind) {
                    Some(call) => {
                        line.write(format_args!("{call}_ret: ({caller} <- {call}) addr={address:#x}"))
                    }
                    None => Ok(()),
                }
            }
            Event::AllocateFailed { size, align, kind, caller, .. } => {
                let pages = size.div_ceil(PAGE_SIZE);
                line.call(kind, pages, size, align, caller)?;
                match probe(kind) {
                    Some(call) => line.write(format_args!("{call}_ret: ({caller} <- {call}) addr=0x0")),
                    None => {
                        let (space, range) = (size, &self.range);
                        line.write(format_args!(
                            "{}",
                            AllocArea { address: 0, space, align, range, failed: true }
                        ))
                    }
                }
            }
            Event::Free { address, pages, kind, waiting, caller } => {
                match kind {
                    Kind::Vmalloc => line.write(format_args!("vfree: ({caller}) addr={address:#x}"))?,
                    Kind::Vmap | Kind::Ioremap => {
                        line.write(format_args!("vunmap: ({caller}) addr={address:#x}"))?;
                    }
                    Kind::VmMapRam => {
                        return line
                            .write(format_args!("vm_unmap_ram: ({caller}) addr={address:#x} count={pages}"));
                    }
                    _ => {}
                }
                let Freed { start, end, areas } = &mut self.freed;
                (*start, *end) = ((*start).min(address), (*end).max(address + (pages + 1) * PAGE_SIZE));
                *areas += 1;
                let (lazy, max) = (waiting.max(0) + pages as i64 + 1, self.lazy_max);
                line.write(format_args!(
                    "free_vmap_area_noflush: va_start={address:#x} nr_lazy={lazy} nr_lazy_max={max}"
                ))
            }
            Event::PurgeBegin { pages, caller } => {
                self.purging = core::mem::replace(&mut self.freed, Freed::NONE);
                line.write(format_args!("vmalloc_purge_begin: ({caller}) waiting={pages}"))
            }
            Event::PurgeEnd { pages } => {
                let Freed { start, end, areas } = core::mem::replace(&mut self.purging, Freed::NONE);
                line.write(format_args!("vmalloc_purge_end: freed={pages}"))?;
                line.write(format_args!(
                    "purge_vmap_area_lazy: start={start:#x} end={end:#x} num_purged={areas}"
                ))
            }
            Event::Flush { pages: Some(pages), caller } => {
                line.write(format_args!("vmalloc_flush: ({caller}) pages={pages}"))
            }
            Event::Flush { pages: None, caller } => line.write(format_args!("vmalloc_flush: ({caller}) all")),
            Event::UnmapAliases { caller } => line.write(format_args!("vm_unmap_aliases: ({caller})")),
            other => line.write(format_args!("vmalloc_other: {other}")),
        }
    }
}

/// The name of the probe on a call that makes an area of this kind.
fn probe(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Vmalloc => Some("valloc"),
        Kind::Vmap => Some("vmap"),
        Kind::VmMapRam => Some("vm_map_ram"),
        // Linux's own events tell of these.
        _ => None,
    }
}

/// Writes lines of one event.
struct Line<'a> {
    record: &'a Record,
    out: &'a mut dyn fmt::Write,
}

impl Line<'_> {
    fn write(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        let Record { time, cpu, who, .. } = *self.record;
        writeln!(self.out, "{}{text}", Prefix { time, cpu, who })
    }

    /// Writes what a call asks for.
    fn call(
        &mut self,
        kind: Kind,
        pages: usize,
        size: usize,
        align: usize,
        caller: &Location<'_>,
    ) -> fmt::Result {
        match (probe(kind), kind) {
            (Some(call), Kind::Vmalloc) => {
                self.write(format_args!("{call}: ({caller}) size={size} align={align}"))
            }
            (Some(call), _) => self.write(format_args!("{call}: ({caller}) count={pages}")),
            (None, _) => Ok(()),
        }
    }
}

/// Address space that was found, or was not.
struct AllocArea<'a> {
    address: usize,
    space: usize,
    align: usize,
    range: &'a Range<usize>,
    failed: bool,
}

/// The address is decimal, as Linux writes it.
impl fmt::Display for AllocArea<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, space, align, range: Range { start, end }, failed } = self;
        let (last, failed) = (end - 1, u8::from(*failed));
        write!(f, "alloc_vmap_area: va_start: {address} size={space} align={align} ")?;
        write!(f, "vstart={start:#x} vend={last:#x} failed={failed}")
    }
}

/// What stands before an event: who, where and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefix {
    pub time: u64,
    pub cpu: usize,
    pub who: Who,
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, cpu, who } = self;
        let (time, id) = (tsc::microseconds(*time), who.id);
        let name = match who.name() {
            "" => "<...>",
            _ if id == 0 => "<idle>",
            name => name,
        };
        let (seconds, micros) = (time / 1_000_000, time % 1_000_000);
        write!(f, "{name:>16}-{id:<7} [{cpu:03}] ..... {seconds:>5}.{micros:06}: ")
    }
}
