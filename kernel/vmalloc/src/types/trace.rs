//! Trace points: what is allocated, freed, purged and flushed, told to the machine as it happens.
//!
//! Off, each costs one branch. A call that is traced does not take the plain way, which so keeps
//! nothing for the event; what the event says is looked up where it is made, out of line.
//!
//! An area's [`Free`](Event::Free) comes before anybody else can have its address, its
//! [`Allocate`](Event::Allocate) when it is complete. Areas that were allocated while the instance was
//! traced and have not been freed since are therefore those without a `Free`.

use crate::{
    AllocError, Kind, Vmalloc,
    blocks::block::Block,
    page_table::entry::Entry,
    platform::{BLOCK_PAGES, Platform},
};
use core::{
    fmt,
    panic::Location,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

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

impl<P: Platform> Vmalloc<P> {
    /// Whether events go to the machine.
    #[inline]
    pub(crate) fn is_traced(&self) -> bool {
        self.tunables.trace.load(Ordering::Relaxed)
    }

    /// Passes on what became of a request for `size` bytes.
    pub(crate) fn traced(
        &self,
        size: usize,
        caller: &'static Location<'static>,
        result: Result<NonNull<u8>, AllocError>,
    ) -> Result<NonNull<u8>, AllocError> {
        if self.is_traced() {
            self.trace_result(size, caller, result);
        }
        result
    }

    #[cold]
    fn trace_result(
        &self,
        size: usize,
        caller: &'static Location<'static>,
        result: Result<NonNull<u8>, AllocError>,
    ) {
        match result.map(|area| self.find_area(area.as_ptr() as usize)) {
            Ok(Some(area)) => self.platform.trace(Event::Allocate {
                address: area.start,
                pages: area.pages,
                kind: area.kind,
                caller,
            }),
            // Somebody freed it who was not given it.
            Ok(None) => {}
            Err(error) => self.platform.trace(Event::AllocateFailed { error, size, caller }),
        }
    }

    /// `pages` pages from page `first` of a block go. Called before anybody else can have them.
    #[cold]
    pub(crate) fn trace_free(&self, block: &Block, first: usize, pages: usize) {
        self.platform.trace(Event::Free { address: self.address(block.number(), first), pages });
    }

    /// The same of a run of `blocks` blocks, whose guard is still there.
    #[cold]
    pub(crate) fn trace_free_run(&self, first: usize, blocks: usize) {
        let last = self.block(first + blocks - 1);
        let is_guard = |slot: &AtomicU64| Entry(slot.load(Ordering::Relaxed)).is_guard();
        let in_last = last.leaf(&self.platform).and_then(|leaf| leaf.iter().position(is_guard));
        let Some(in_last) = in_last else { unreachable!("a run ends with a guard page") };
        self.trace_free(self.block(first), 0, (blocks - 1) * BLOCK_PAGES + in_last);
    }

    #[cold]
    pub(crate) fn trace_purge(&self, purge: impl FnOnce() -> usize) -> usize {
        self.platform.trace(Event::PurgeBegin { pages: self.lazy_pages() });
        let pages = purge();
        self.platform.trace(Event::PurgeEnd { pages });
        pages
    }

    /// A flush of so many pages, or of everything, is about to begin.
    #[inline]
    pub(crate) fn trace_flush(&self, pages: Option<usize>) {
        if self.is_traced() {
            self.platform.trace(Event::Flush { pages });
        }
    }
}
