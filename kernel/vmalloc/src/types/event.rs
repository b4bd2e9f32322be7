//! Trace points: what is allocated, freed, purged and flushed, told to the machine as it happens.
//!
//! Off, each costs one branch. A call that is traced does not take the plain way, which so keeps
//! nothing for the event; what the event says is looked up where it is made, out of line.
//!
//! An area's [`Free`](Event::Free) comes before anybody else can have its address, its
//! [`Allocate`](Event::Allocate) when it is complete. Areas that were allocated while the instance was
//! traced and have not been freed since are therefore those without a `Free`.

use crate::{AllocError, Kind};
use core::{fmt, panic::Location};

/// Something that an instance did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An area was made, or is now what `vrealloc` made of it.
    Allocate {
        /// First address.
        address: usize,
        /// Its pages, mapped or not.
        pages: usize,
        /// Which call made it.
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
        /// Who called.
        caller: &'static Location<'static>,
    },
    /// An area is freed, unmapped, or resized, whether it moves or stays. What an interrupt handler
    /// freed is freed here when the purge comes to it.
    Free {
        /// First address.
        address: usize,
        /// Mapped pages it had.
        pages: usize,
    },
    /// A purge begins.
    PurgeBegin {
        /// Pages of address space that wait for a flush; may be a little off, even negative, while other
        /// CPUs free.
        pages: i64,
    },
    /// The purge is over.
    PurgeEnd {
        /// Pages of address space that it made free.
        pages: usize,
    },
    /// CPUs are about to be made to flush.
    Flush {
        /// Pages flushed one by one; `None`: everything is flushed.
        pages: Option<usize>,
    },
}

/// One line.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allocate { address, pages, kind, caller } => {
                write!(f, "allocate {address:#x} pages={pages} {} {caller}", kind.name())
            }
            Self::AllocateFailed { error, size, caller } => {
                write!(f, "allocate_failed size={size} {caller}: {error}")
            }
            Self::Free { address, pages } => write!(f, "free {address:#x} pages={pages}"),
            Self::PurgeBegin { pages } => write!(f, "purge_begin waiting={pages}"),
            Self::PurgeEnd { pages } => write!(f, "purge_end freed={pages}"),
            Self::Flush { pages: Some(pages) } => write!(f, "flush pages={pages}"),
            Self::Flush { pages: None } => write!(f, "flush all"),
        }
    }
}
