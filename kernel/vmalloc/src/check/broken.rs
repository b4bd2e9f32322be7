//! What is wrong, and how it was seen.

use super::{Flush, Promise};
use crate::{CpuSet, Frame, NewError};
use thiserror::Error;

/// A promise that a machine breaks, or what kept the check from trying the rest.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {promise}; {seen}", if *.promise == Promise::Memory { "lacking" } else { "broken" })]
#[non_exhaustive]
pub struct Broken {
    /// Which promise it is.
    pub promise: Promise,
    /// What was seen.
    pub seen: Seen,
}

/// What was seen when a promise was found broken. Frames are written as physical addresses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Seen {
    /// An instance over the range would be refused.
    #[error(transparent)]
    Refused(NewError),
    /// EFER.NXE is off.
    #[error("EFER.NXE (bit 11 of MSR 0xc0000080) is off, so that entries with the no-execute bit fault")]
    NoExecuteOff,
    /// CR0.WP is off.
    #[error("CR0.WP (bit 16) is off, so that the kernel can write to read-only pages")]
    WriteProtectOff,
    /// CR4.LA57 is on.
    #[error("CR4.LA57 (bit 12) is on: the library's page tables have four levels")]
    FiveLevels,
    /// The CPU runs on other page tables.
    #[error("root() returned {:#x}, but CR3 has {:#x}", .returned.address(), .cr3.address())]
    OtherRoot {
        /// What [`root`](crate::Platform::root) returned.
        returned: Frame,
        /// What CR3 holds.
        cr3: Frame,
    },
    /// [`in_interrupt`](crate::Platform::in_interrupt) returned true.
    #[error(
        "in_interrupt() returned true, or the check was called in an interrupt handler, where it may not be"
    )]
    InInterrupt,
    /// A CPU's number is too high.
    #[error("here() returned {cpu}, and shootdown() has {cpus} CPUs: there is no TlbState for it")]
    BadNumber {
        /// The number.
        cpu: usize,
        /// How many CPUs the [`Shootdown`](crate::Shootdown) has, whose numbers are below.
        cpus: usize,
    },
    /// The pin and the flusher name different CPUs.
    #[error("pin().cpu() returned {pin}, and here() {here}, on one CPU")]
    TwoNumbers {
        /// What the pin returned.
        pin: usize,
        /// What [`here`](crate::Flusher::here) returned.
        here: usize,
    },
    /// [`pin_outside_interrupts`](crate::Platform::pin_outside_interrupts) returned `None`.
    #[error("pin_outside_interrupts() returned None outside of interrupt handlers")]
    NoPin,
    /// The current CPU is not online.
    #[error("CPU {cpu} is not online, CPUs {{{online}}} are: call Shootdown::set_online on it")]
    NotOnline {
        /// The current CPU.
        cpu: usize,
        /// Those that are online.
        online: CpuSet,
    },
    /// A closure did not run.
    #[error("uninterrupted() did not call its closure, or one within another did not")]
    NotRun,
    /// Interrupts are on where they must be off.
    #[error("interrupts are on within uninterrupted(), or after one that is nested in another")]
    InterruptsOn,
    /// Interrupts are not as they were before.
    #[error("interrupts are not as they were before uninterrupted()")]
    NotRestored,
    /// Fewer frames could be taken than were asked for.
    #[error("{taken} of {asked} frames were to be had, and the check needs all")]
    TooFew {
        /// Frames or tables asked for.
        asked: usize,
        /// Those that came.
        taken: usize,
    },
    /// [`take_frames`](crate::Platform::take_frames) returned a different number than `sink` was given.
    #[error("take_frames({asked}) returned {returned}, and gave the sink {given} frames")]
    Miscounted {
        /// Frames asked for.
        asked: usize,
        /// The number that it returned.
        returned: usize,
        /// Frames that the sink was given.
        given: usize,
    },
    /// More frames are said to be free than there are in all.
    #[error("free_frames() returned {free}, and total_frames() {total}")]
    MoreFree {
        /// Free frames.
        free: usize,
        /// All frames.
        total: usize,
    },
    /// More frames were taken than were said to be free.
    #[error("free_frames() returned {free}, and {taken} frames could be taken")]
    FewerFree {
        /// Free frames.
        free: usize,
        /// Frames that were taken then.
        taken: usize,
    },
    /// A frame was given out twice.
    #[error("frame {:#x} was given out again, while it was taken", .frame.address())]
    TakenTwice {
        /// The frame.
        frame: Frame,
    },
    /// A 2 MiB frame is not aligned.
    #[error("the 2 MiB frame at {:#x} is not aligned to 2 MiB", .frame.address())]
    NotAligned {
        /// Its first frame.
        frame: Frame,
    },
    /// There is no such physical address.
    #[error("frame {:#x} was taken, and physical_bits() returned {bits}", .frame.address())]
    BeyondBits {
        /// The frame.
        frame: Frame,
        /// The number of bits.
        bits: u32,
    },
    /// The CPU has a different number of physical address bits.
    #[error("physical_bits() returned {returned}, and CPUID says {cpuid}")]
    OtherBits {
        /// What [`physical_bits`](crate::Platform::physical_bits) returned.
        returned: u32,
        /// What the CPU says.
        cpuid: u32,
    },
    /// A frame that was taken is not RAM.
    #[error("is_ram() returned false for frame {:#x}, which was taken", .frame.address())]
    NotRam {
        /// The frame.
        frame: Frame,
    },
    /// The direct map shows a frame at an address where no page starts.
    #[error("direct_map() returned {address:#x} for frame {:#x}: no page starts there", .frame.address())]
    NoPage {
        /// The frame.
        frame: Frame,
        /// What [`direct_map`](crate::Platform::direct_map) returned.
        address: usize,
    },
    /// The direct map shows a frame at two addresses.
    #[error("direct_map() returned {first:#x} for frame {:#x}, and then {second:#x}", .frame.address())]
    TwoAddresses {
        /// The frame.
        frame: Frame,
        /// What [`direct_map`](crate::Platform::direct_map) returned at first.
        first: usize,
        /// What it returned the second time.
        second: usize,
    },
    /// [`frame_of`](crate::Platform::frame_of) is not the inverse of `direct_map`.
    #[error("direct_map() returned {address:#x} for frame {:#x}, and frame_of() {:#x} for that", .frame.address(), .returned.address())]
    NoInverse {
        /// The frame.
        frame: Frame,
        /// Where the direct map has it.
        address: usize,
        /// What [`frame_of`](crate::Platform::frame_of) returned for the address, or for the last byte of the page there.
        returned: Frame,
    },
    /// Nothing is mapped where the direct map is said to be.
    #[error("direct_map() returned {address:#x} for frame {:#x}, and the page tables map nothing there", .frame.address())]
    NotMapped {
        /// The frame.
        frame: Frame,
        /// Where the direct map has it.
        address: usize,
    },
    /// Another frame is mapped where the direct map is said to have this one.
    #[error("direct_map() returned {address:#x} for frame {:#x}, and the page tables map {:#x} there", .frame.address(), .mapped.address())]
    OtherFrame {
        /// The frame.
        frame: Frame,
        /// Where the direct map has it.
        address: usize,
        /// What is mapped there.
        mapped: Frame,
    },
    /// The direct map is mapped read-only.
    #[error("direct_map() returned {address:#x} for frame {:#x}, which is mapped read-only", .frame.address())]
    ReadOnly {
        /// The frame.
        frame: Frame,
        /// Where the direct map has it.
        address: usize,
    },
    /// What was written to a frame cannot be read back.
    #[error("{written:#x} was written to frame {:#x} by the direct map at {address:#x}, and {read:#x} is read there", .frame.address())]
    Lost {
        /// The frame.
        frame: Frame,
        /// Where the direct map has it.
        address: usize,
        /// What was written.
        written: u64,
        /// What was read.
        read: u64,
    },
    /// A page that is mapped to a frame shows something other than the direct map.
    #[error("{written:#x} was written to frame {:#x} by the direct map, and a page mapped to that frame at {address:#x} has {}", .frame.address(), Word(*.read))]
    OtherBytes {
        /// The frame.
        frame: Frame,
        /// Where the page was mapped, in the range.
        address: usize,
        /// What was written.
        written: u64,
        /// What was read; `None` if the CPU faulted.
        read: Option<u64>,
    },
    /// A table is not full of zeros.
    #[error("take_table() returned {:#x}, which has {word:#x} at byte {offset:#x}", .table.address())]
    NotZero {
        /// The table.
        table: Frame,
        /// The offset in the table, in bytes.
        offset: usize,
        /// What was there.
        word: u64,
    },
    /// A CPU still uses an old translation after a flush.
    #[error("after {flush}, CPU {cpu} reads frame {:#x} at {address:#x}, which was mapped to {:#x} before", .old.address(), .new.address())]
    Stale {
        /// The flush.
        flush: Flush,
        /// The CPU that flushed.
        cpu: usize,
        /// The address.
        address: usize,
        /// The frame that was mapped before the entry was changed.
        old: Frame,
        /// The frame that was mapped after that, before the flush.
        new: Frame,
    },
    /// A CPU does not answer an interrupt.
    #[error(
        "CPU {cpu} was interrupted and did not call Shootdown::answer: the interrupt does not arrive, or its handler does not call it"
    )]
    Silent {
        /// The CPU.
        cpu: usize,
    },
    /// A wait ended too early.
    #[error("wait() for CPU {cpu} returned before done() had returned true")]
    GaveUp {
        /// The CPU that was waited for.
        cpu: usize,
    },
}

/// What a CPU has read.
struct Word(Option<u64>);

impl core::fmt::Display for Word {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Some(word) => write!(f, "{word:#x}"),
            None => f.write_str("nothing: the CPU faults"),
        }
    }
}
