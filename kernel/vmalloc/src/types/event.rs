//! Trace points: what is allocated, freed, purged and flushed, told to the machine as it happens.
//!
//! While tracing is off each costs one branch. A traced call does not take the fast path, so that this one saves
//! nothing for the event; what the event says is looked up where it is made, out of line.
//!
//! An area's [`Free`](Event::Free) comes before anybody else can have its address, its
//! [`Allocate`](Event::Allocate) when it is complete. Areas that were allocated while the instance was
//! traced and have not been freed since are therefore those without a `Free`.
//!
//! A new event needs a number in `encode` and in `decode` of `kernel/src/trace/slot.rs`; the compiler checks only the
//! first.

use crate::{AllocError, Kind};
use core::{fmt, panic::Location};

/// Something that an instance did, as reported to [`Platform::trace`](crate::Platform::trace) while
/// [`set_trace`](crate::Vmalloc::set_trace) is on. Pages are of 4 KiB.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An area was made or resized, and is complete.
    #[doc(alias = "alloc_vmap_area")]
    Allocate {
        /// First address.
        address: usize,
        /// Pages of the area, mapped or not.
        pages: usize,
        /// Bytes asked for.
        size: usize,
        /// Alignment asked for, in bytes.
        align: usize,
        /// Which call made the area.
        kind: Kind,
        /// Who called.
        caller: &'static Location<'static>,
    },
    /// A call that was to make or resize an area was refused.
    AllocateFailed {
        /// Why.
        error: AllocError,
        /// Bytes asked for.
        size: usize,
        /// Alignment asked for, in bytes.
        align: usize,
        /// Which call it was.
        kind: Kind,
        /// Who called.
        caller: &'static Location<'static>,
    },
    /// An area is freed, unmapped, or resized, whether it moves or stays. A free in an interrupt handler is
    /// reported there, though the next purge carries it out.
    #[doc(alias = "free_vmap_area_noflush")]
    Free {
        /// First address.
        address: usize,
        /// Pages of the area that were mapped.
        pages: usize,
        /// Which call made the area.
        kind: Kind,
        /// Pages of address space that wait for a flush, without those of the area. The count is approximate
        /// while other CPUs free, and may then be negative.
        waiting: i64,
        /// Who freed or resized it.
        caller: &'static Location<'static>,
    },
    /// A purge begins.
    #[doc(alias = "purge_vmap_area_lazy")]
    PurgeBegin {
        /// Pages of address space that wait for a flush. The count is approximate while other CPUs free,
        /// and may then be negative.
        pages: i64,
        /// Who made the call that purges.
        caller: &'static Location<'static>,
    },
    /// A purge is over.
    PurgeEnd {
        /// Pages of address space that the purge made free.
        pages: usize,
    },
    /// CPUs are about to be told to flush their TLBs.
    Flush {
        /// Pages flushed one by one; `None` if everything is flushed.
        pages: Option<usize>,
        /// Who made the call that flushes.
        caller: &'static Location<'static>,
    },
    /// Every CPU is made to forget what was unmapped before.
    #[doc(alias = "vm_unmap_aliases")]
    UnmapAliases {
        /// Who called.
        caller: &'static Location<'static>,
    },
}

/// Writes one line, such as `purge_end freed=4`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allocate { address, pages, size, align, kind, caller } => {
                write!(
                    f,
                    "allocate {address:#x} pages={pages} size={size} align={align} {} {caller}",
                    kind.name()
                )
            }
            Self::AllocateFailed { error, size, align, kind, caller } => {
                write!(f, "allocate_failed size={size} align={align} {} {caller}: {error}", kind.name())
            }
            Self::Free { address, pages, kind, waiting, caller } => {
                write!(f, "free {address:#x} pages={pages} waiting={waiting} {} {caller}", kind.name())
            }
            Self::PurgeBegin { pages, caller } => write!(f, "purge_begin waiting={pages} {caller}"),
            Self::PurgeEnd { pages } => write!(f, "purge_end freed={pages}"),
            Self::Flush { pages: Some(pages), caller } => write!(f, "flush pages={pages} {caller}"),
            Self::Flush { pages: None, caller } => write!(f, "flush all {caller}"),
            Self::UnmapAliases { caller } => write!(f, "unmap_aliases {caller}"),
        }
    }
}

/// Writes what [`Display`](fmt::Display) does.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
