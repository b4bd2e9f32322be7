//! Changing what may be done with mapped pages.
//!
//! Nothing needs to be put back when such an area is freed: its entries go, and whoever gets its
//! frames next maps them anew. The machine's direct map is left alone, so what is read-only or
//! executable here can still be written there, by code that means to.

use crate::{
    ProtectError, Vmalloc,
    entry::{Entry, Kind, Protection},
    flush::Unflushed,
    info::AreaInfo,
    platform::{BLOCK_PAGES, BLOCK_SHIFT, PAGE_SIZE, Platform},
    run::blocks_for,
};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

impl<P: Platform> Vmalloc<P> {
    /// Changes the protection of the pages of `size` bytes from `start`, which is page-aligned, all in
    /// one area. When it returns, every CPU goes by the new protection.
    ///
    /// # Errors
    /// See [`ProtectError`]; nothing has changed then.
    ///
    /// # Safety
    /// Nobody counts on the protection the pages had, and nobody frees the area meanwhile. What is
    /// made executable is code.
    pub unsafe fn set_protection(
        &self,
        start: NonNull<u8>,
        size: usize,
        protection: Protection,
    ) -> Result<(), ProtectError> {
        let start = start.as_ptr() as usize;
        if size == 0 || !start.is_multiple_of(PAGE_SIZE) {
            return Err(ProtectError::BadRange { start, size });
        }
        let area = self.find_area(start).filter(|area| start < area.mapped_end());
        let area = area.ok_or(ProtectError::NotAllocated { address: start })?;
        if area.kind == Kind::Congruent {
            return Err(ProtectError::WrongKind { area });
        }
        let pages = size.div_ceil(PAGE_SIZE);
        if pages > (area.mapped_end() - start) / PAGE_SIZE {
            return Err(ProtectError::BehindArea { area });
        }
        let end = start + pages * PAGE_SIZE;
        self.split_ends(&area, start, end)?;
        let mut at = start;
        while at < end {
            let (slot, bytes) = self.entry_at(&area, at);
            // In one step: a CPU that writes, or `frame_at`, may mark a page of zeros dirty meanwhile.
            let protected = |entry| Some(Entry(entry).protected(protection).0);
            let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, protected);
            at += bytes;
        }
        Unflushed::new((), start..end).flush(self);
        Ok(())
    }

    /// Splits the 2 MiB pages that the range covers only in part.
    fn split_ends(&self, area: &AreaInfo, start: usize, end: usize) -> Result<(), ProtectError> {
        for edge in [start, end] {
            let inside_block = !((edge - area.start) / PAGE_SIZE).is_multiple_of(BLOCK_PAGES);
            if area.huge_pages > 0 && inside_block && edge < area.mapped_end() {
                let number = (edge - self.range.start) >> BLOCK_SHIFT;
                self.split_huge(number).map_err(|_| ProtectError::OutOfFrames)?;
                let first = (area.start - self.range.start) >> BLOCK_SHIFT;
                self.set_head(first, blocks_for(area.pages));
            }
        }
        Ok(())
    }

    /// The entry that maps an address of an area, and how many bytes from there on it maps.
    fn entry_at(&self, area: &AreaInfo, address: usize) -> (&AtomicU64, usize) {
        let number = (area.start - self.range.start) >> BLOCK_SHIFT;
        let first = (area.start - self.range.start) / PAGE_SIZE % BLOCK_PAGES;
        let slot = self.run_entry(number, first + (address - area.start) / PAGE_SIZE);
        let huge = Entry(slot.load(Ordering::Relaxed)).is_huge();
        (slot, if huge { BLOCK_PAGES * PAGE_SIZE } else { PAGE_SIZE })
    }
}
