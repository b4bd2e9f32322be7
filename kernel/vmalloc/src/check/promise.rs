//! The promises by their numbers, in the words of the traits.

use core::fmt;

/// A promise of a machine, or a condition under which the library works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Promise {
    /// Promise 1 of [`Platform`](crate::Platform), on frames.
    Frames,
    /// Promise 2 of [`Platform`](crate::Platform), on the direct map.
    DirectMap,
    /// Promise 3 of [`Platform`](crate::Platform), on tables.
    Tables,
    /// Promise 4 of [`Platform`](crate::Platform), on the root.
    Root,
    /// Promise 5 of [`Platform`](crate::Platform), on CPUs that are online.
    Online,
    /// Promise 6 of [`Platform`](crate::Platform), on pins.
    Pins,
    /// Promise 7 of [`Platform`](crate::Platform), on grace periods.
    Grace,
    /// Promise 8 of [`Platform`](crate::Platform), on what is RAM.
    Ram,
    /// Promise 1 of [`Flusher`](crate::Flusher), on the current CPU.
    Here,
    /// Promise 2 of [`Flusher`](crate::Flusher), on flushes.
    Flushes,
    /// Promise 3 of [`Flusher`](crate::Flusher), on waiting.
    Waits,
    /// Promise 4 of [`Flusher`](crate::Flusher), on being uninterrupted.
    Uninterrupted,
    /// What [`Flusher::interrupt`](crate::Flusher::interrupt) is documented to do.
    Interrupts,
    /// Promise 9 of [`Platform`](crate::Platform), on interrupt handlers, and that it is false elsewhere.
    InInterrupt,
    /// What [`Platform::take_frames`](crate::Platform::take_frames) and its neighbours are documented to count.
    Counts,
    /// What [`Platform::physical_bits`](crate::Platform::physical_bits) is documented to return.
    PhysicalBits,
    /// What the library needs of each CPU's registers.
    Paging,
    /// The condition on the range in [`Vmalloc::new`](crate::Vmalloc::new).
    Range,
    /// What the check itself needs: free frames. A machine without them is not therefore wrong.
    Memory,
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Frames => "promise 1 of Platform, that a frame that was taken belongs to the taker alone",
            Self::DirectMap => {
                "promise 2 of Platform, that direct_map points to the bytes of each frame that was taken, writable, \
                 and frame_of is its inverse"
            }
            Self::Tables => "promise 3 of Platform, that a table that was taken is full of zeros",
            Self::Root => "promise 4 of Platform, that root is the top level page table of every CPU",
            Self::Online => "promise 5 of Platform, that every CPU that uses an instance is online in shootdown",
            Self::Pins => "promise 6 of Platform, that a pin keeps the thread on its CPU, and knows its number",
            Self::Grace => "promise 7 of Platform, that synchronize returns, and true only after a grace period",
            Self::Ram => "promise 8 of Platform, that is_ram knows what direct_map shows",
            Self::Here => "promise 1 of Flusher, that here returns the CPU that runs the call",
            Self::Flushes => {
                "promise 2 of Flusher, that flush_page, flush_all and broadcast make CPUs forget what they say"
            }
            Self::Waits => "promise 3 of Flusher, that wait returns only when done has said so",
            Self::Uninterrupted => {
                "promise 4 of Flusher, that within uninterrupted neither an interrupt nor another thread comes in \
                 between, and that it may be nested"
            }
            Self::Interrupts => "what Flusher says of interrupt, that each CPU calls Shootdown::answer then",
            Self::InInterrupt => "promise 9 of Platform, that in_interrupt is true in interrupt handlers, and there alone",
            Self::Counts => "what Platform says of the frames that take_frames, free_frames and total_frames count",
            Self::PhysicalBits => "what Platform says of physical_bits, that the CPUs have so many",
            Self::Paging => "what page tables need of the CPU: no-execute and write-protection on, four levels",
            Self::Range => "what Vmalloc::new says of the range, that nobody else maps anything there",
            Self::Memory => "what the check needs to try the rest",
        })
    }
}
