//! What a kernel author would write today without the vmalloc library, as a measure of it: addresses from a published
//! crate, mapped page by page by `x86_64`'s `OffsetPageTable`, with this kernel's frames; unmapped, flushed on every CPU
//! and given back at once.
//!
//! | file | what | its lock |
//! |---|---|---|
//! | `addresses` | free addresses, by the crate `free-list` or `vmem` | one, under which the heap's may be taken |
//! | `mapper` | the page tables, and flushes | one, under which frames are taken |
//!
//! It is written to be fast and right with these means. Each area has a guard page behind it. Frames are taken and given
//! many at a time. No lock is held while other CPUs flush, and few pages are flushed one by one, many with everything else,
//! as the library does it. What it has not is what the library is for: nothing is kept for the next area, and no flush
//! serves more than one. An area of more than 128 pages is unmapped, flushed and given back 128 pages at a time, so that no
//! list of its frames needs memory.
//!
//! The crate `offset-allocator` is not here: it needs `std`.
//!
//! Called by `test_vmalloc`, in threads that may wait, with no lock held.

mod addresses;
mod mapper;

use crate::{arch::layout, command::CommandError, memory::frames, services::reclaim};
use alloc::format;
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicBool, Ordering},
};
use mapper::{Batch, Mapper};
use vmalloc::{AllocError, Frame, PAGE_SIZE};

pub use addresses::{Addresses, FreeList, Vmem};

/// Whether somebody has the range.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Areas on addresses that `A` gives. There is one at a time, for there is one range.
pub struct Instead<A> {
    addresses: A,
    // Dropped in this order.
    mapper: Mapper,
    _range: Range,
}

/// Mapped pages and the guard page behind them. They are unmapped, flushed and given back when dropped.
pub struct Area<'a, A: Addresses> {
    instead: &'a Instead<A>,
    start: usize,
    /// Pages asked for.
    pages: usize,
    /// Pages that are mapped: all of them, once the area is made.
    mapped: usize,
    /// The frames belong to the area, not to the caller.
    owns_frames: bool,
}

/// The right to the range.
struct Range;

impl<A: Addresses> Instead<A> {
    /// Makes one without areas.
    ///
    /// # Errors
    /// There is one already, or no memory.
    pub fn new() -> Result<Self, CommandError> {
        let range = Range::take()?;
        let no_memory = || CommandError::new(format!("{}", frames::shortage(1)));
        let mapper = Mapper::new(layout::INSTEAD).ok_or_else(no_memory)?;
        let addresses = A::new(layout::INSTEAD).ok_or_else(no_memory)?;
        Ok(Self { addresses, mapper, _range: range })
    }

    /// Makes an area of so many pages, with frames of its own.
    ///
    /// # Errors
    /// Addresses or frames ran out.
    pub fn allocate(&self, pages: usize) -> Result<Area<'_, A>, AllocError> {
        let mut area = self.reserve(pages, true)?;
        while area.mapped < pages {
            let mut batch = Batch::new();
            let wanted = (pages - area.mapped).min(batch.capacity());
            reclaim::take(wanted, |frame| mapper::push(&mut batch, frame));
            let mapped = self.mapper.map(area.start + area.mapped * PAGE_SIZE, &batch);
            area.mapped += mapped;
            // SAFETY: they were just taken and are not mapped.
            unsafe { frames::give(batch[mapped..].iter().copied()) };
            if mapped < wanted {
                return Err(frames::shortage(pages - area.mapped));
            }
        }
        Ok(area)
    }

    /// Maps the caller's frames, which stay the caller's.
    ///
    /// # Errors
    /// Addresses ran out, or frames for page tables.
    pub fn map(&self, frames: &[Frame]) -> Result<Area<'_, A>, AllocError> {
        let mut area = self.reserve(frames.len(), false)?;
        area.mapped = self.mapper.map(area.start, frames);
        if area.mapped < frames.len() { Err(frames::shortage(1)) } else { Ok(area) }
    }

    /// Takes addresses for an area and its guard page.
    fn reserve(&self, pages: usize, owns_frames: bool) -> Result<Area<'_, A>, AllocError> {
        const MOST: usize = layout::INSTEAD.end - layout::INSTEAD.start;
        if pages == 0 {
            return Err(AllocError::ZeroSize);
        }
        let fits = pages < MOST / PAGE_SIZE;
        let start = if fits { self.addresses.take(pages + 1) } else { None };
        let start = start.ok_or(AllocError::OutOfAddressSpace {
            size: pages.saturating_mul(PAGE_SIZE),
            align: PAGE_SIZE,
            longest: 0,
        })?;
        Ok(Area { instead: self, start, pages, mapped: 0, owns_frames })
    }
}

impl<A: Addresses> Area<'_, A> {
    /// Returns where its first byte is.
    #[inline]
    #[must_use]
    pub fn start(&self) -> NonNull<u8> {
        // SAFETY: the range is far above zero.
        unsafe { NonNull::new_unchecked(self.start as *mut u8) }
    }
}

impl<A: Addresses> Drop for Area<'_, A> {
    fn drop(&mut self) {
        let (mut page, end) = (self.start, self.start + self.mapped * PAGE_SIZE);
        while page < end {
            let mut batch = Batch::new();
            let next = end.min(page + batch.capacity() * PAGE_SIZE);
            self.instead.mapper.unmap(page..next, &mut batch);
            mapper::flush(page..next);
            if self.owns_frames {
                // SAFETY: `allocate` took them, and no CPU can reach them any more.
                unsafe { frames::give(batch.iter().copied()) };
            }
            page = next;
        }
        self.instead.addresses.give(self.start, self.pages + 1);
    }
}

impl Range {
    fn take() -> Result<Self, CommandError> {
        match TAKEN.swap(true, Ordering::Acquire) {
            false => Ok(Self),
            true => Err(CommandError::new("another run without the library is under way")),
        }
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}
