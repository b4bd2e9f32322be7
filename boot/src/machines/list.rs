//! The machines: all that QEMU can be told to be, as far as users have such machines.

/// One kind of machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// What is special about it.
    pub about: &'static str,
    /// The options by which any action makes it.
    pub words: &'static str,
    /// What is said of it, if it lacks something that the kernel or its boot loader needs.
    pub lacks: Option<&'static str>,
}

impl Kind {
    /// Whether QEMU may refuse it: not each QEMU has x2APIC, and not each computer has that firmware.
    pub fn may_be_refused(&self) -> bool {
        self.words.contains("x2apic,enforce") || self.words.contains("file=")
    }
}

const fn kind(about: &'static str, words: &'static str) -> Kind {
    Kind { about, words, lacks: None }
}

const fn lacking(words: &'static str, lacks: &'static str) -> Kind {
    Kind { about: "lacks something", words, lacks: Some(lacks) }
}

/// The machines, in the order in which they are run.
pub(super) const KINDS: [Kind; 31] = [
    kind("the default", "--cpus 2"),
    kind("an older chipset", "--machine pc --cpus 2"),
    kind("no PIT", "--machine q35,pit=off --cpus 2"),
    kind("no HPET", "--machine q35,hpet=off --cpus 2"),
    kind("neither", "--machine q35,pit=off,hpet=off --cpus 2"),
    kind("no ACPI", "--machine q35,acpi=off --cpus 2"),
    kind("a screen", "--cpus 2 --qemu '-vga std'"),
    kind("APIC ids 0, 1, 2, 4, 5, 6", "--cpus 6 --qemu '-smp 6,sockets=2,cores=3,threads=1'"),
    kind("sockets, cores, threads, holes", "--cpus 12 --qemu '-smp 12,sockets=2,cores=3,threads=2'"),
    kind("CPUs that may be added later", "--cpus 3 --qemu '-smp 3,maxcpus=9,sockets=3,cores=3'"),
    kind(
        "two NUMA nodes",
        "--cpus 4 --memory 4G --qemu '-object memory-backend-ram,id=a,size=1G \
        -object memory-backend-ram,id=b,size=3G -numa node,memdev=a,cpus=0-1 -numa node,memdev=b,cpus=2-3'",
    ),
    kind(
        "two NUMA nodes, memory from 4 GiB on",
        "--machine q35,max-ram-below-4g=1G --cpus 4 --memory 4G --qemu '-object memory-backend-ram,id=a,size=1G \
        -object memory-backend-ram,id=b,size=3G -numa node,memdev=a,cpus=0-1 -numa node,memdev=b,cpus=2-3'",
    ),
    kind("QEMU's oldest 64-bit CPU", "--cpu qemu64 --cpus 2"),
    kind("Intel, 2008", "--cpu Nehalem --cpus 2"),
    kind("Intel, 2013", "--cpu Haswell --cpus 2"),
    kind("Intel, 2019", "--cpu Icelake-Server --cpus 2"),
    kind("AMD, 2004", "--cpu Opteron_G1 --cpus 2"),
    kind("AMD, 2017", "--cpu EPYC --cpus 2"),
    kind("no 5-level paging", "--cpu max,la57=off --cpus 2"),
    kind("no 1 GiB pages", "--cpu max,-pdpe1gb --cpus 2"),
    kind("no PCID, no INVPCID", "--cpu max,-pcid,-invpcid --cpus 2"),
    kind("x2APIC", "--cpu max,+x2apic,enforce --cpus 2"),
    kind("xAPIC alone", "--cpu max,x2apic=off --cpus 2"),
    kind(
        "firmware in flash memory",
        "--cpus 2 --qemu '-drive if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd'",
    ),
    kind("little memory", "--cpus 2 --memory 512M"),
    kind("much memory", "--cpus 2 --memory 12G"),
    lacking("--cpu max,-pat --cpus 2", "the CPU has no page attribute table"),
    lacking("--cpu max,-pge --cpus 2", "the CPU has no GLOBAL pages"),
    lacking("--cpu max,apic=off --cpus 2", "the CPU has no local APIC"),
    lacking("--cpu max,-nx --cpus 2", "the CPU has no NX"),
    lacking("--cpu max,-fxsr --cpus 2", "the CPU has no FXSR"),
];
