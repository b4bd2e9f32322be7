//! Changing what may be done with mapped pages.
//!
//! Nothing needs to be put back when such an area is freed: its entries go, and whoever gets its
//! frames next maps them anew. The machine's direct map is left alone, so what is read-only or
//! executable here can still be written there, by code that means to.

use crate::{
    AreaInfo, BLOCK_PAGES, BLOCK_SIZE, Kind, PAGE_SIZE, Platform, ProtectError, Protection, Vmalloc,
    blocks::Mapping,
    page_table::{Entry, Slot, Unflushed},
    span::page_in_block,
    types::Caller,
};
use core::{panic::Location, ptr::NonNull};

impl<P: Platform> Vmalloc<P> {
    /// Changes the protection of the pages of `size` bytes from `start`, page-aligned, all in one area. When it
    /// returns, every CPU observes the new protection. Protecting part of a 2 MiB page takes a frame for a page
    /// table, and so does making all of one [inaccessible](Protection::None). Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`ProtectError`]; a refused call has changed nothing.
    ///
    /// # Safety
    /// Nobody relies on the protection that the pages had, and nobody frees or resizes the area meanwhile.
    /// What is made executable is code. Calls for parts of one area, even of one 2 MiB page, may be made at
    /// the same time if no two of the parts overlap.
    #[doc(alias = "set_memory_ro")]
    #[doc(alias = "set_memory_x")]
    #[track_caller]
    pub unsafe fn set_protection(
        &self,
        start: NonNull<u8>,
        size: usize,
        protection: Protection,
    ) -> Result<(), ProtectError> {
        let (start, caller) = (start.as_ptr() as usize, Location::caller());
        self.base().refuse_in_interrupt(ProtectError::InInterrupt)?;
        if size == 0 || !start.is_multiple_of(PAGE_SIZE) {
            return Err(ProtectError::BadRange { start, size });
        }
        let area = self.find_area(start).filter(|area| (area.start..area.mapped_end()).contains(&start));
        let area = area.ok_or(ProtectError::NotAllocated { address: start })?;
        let hides = protection == Protection::None;
        if area.kind == Kind::Congruent || hides && area.kind != Kind::Vmalloc {
            return Err(ProtectError::WrongKind { area });
        }
        let pages = size.div_ceil(PAGE_SIZE);
        if pages > (area.mapped_end() - start) / PAGE_SIZE {
            return Err(ProtectError::BehindArea { area });
        }
        let end = start + pages * PAGE_SIZE;
        self.split(&area, self.cut_blocks(&area, start, end), caller)?;
        if hides {
            let span = &self.base().span;
            self.split(&area, span.block_at(start)..=span.block_at(end - 1), caller)?;
        }
        if area.kind == Kind::Vmalloc {
            self.change_first(&area, if hides { Entry::hiding } else { Entry::changed });
        }
        let mut at = start;
        while at < end {
            at = self.protect_block(at, end, protection, caller);
        }
        if !hides && area.kind == Kind::Vmalloc && (start, end) == (area.start, area.mapped_end()) {
            self.change_first(&area, Entry::without_hiding);
        }
        // A 2 MiB page may be split next, and its small pages have the new rights from the beginning.
        let unflushed = if area.huge_pages > 0 { Unflushed::for_speculation } else { Unflushed::new };
        unflushed((), start..end).flush(self.base(), caller);
        Ok(())
    }

    /// Marks an area in its first entry, or takes a mark away: by `change`.
    fn change_first(&self, area: &AreaInfo, change: fn(Entry) -> Entry) {
        // Ends: CPUs, and `frame_at`, mark the entry once each, and a 2 MiB page is protected or split by others once each.
        while let (slot, entry) = self.first_entry(area)
            && slot.replace(entry, change(entry)).is_err()
        {}
    }

    /// Returns whether pages of an area that owns its frames may be hidden.
    pub(super) fn hides_pages(&self, area: &AreaInfo) -> bool {
        self.first_entry(area).1.shown().hides()
    }

    /// Returns the slot and the first entry of an area, as it was found there: the slot of a 2 MiB page links a table as soon
    /// as another CPU splits that.
    fn first_entry(&self, area: &AreaInfo) -> (&Slot, Entry) {
        let number = self.base().span.block_at(area.start);
        match self.blocks().mapping_of(number) {
            Some(Mapping::Huge(slot, entry)) => (slot, entry),
            Some(Mapping::Small(leaf) | Mapping::Unflushed(leaf, _)) => {
                let slot = &leaf[page_in_block(area.start)];
                (slot, slot.look())
            }
            None => unreachable!("block {number} of the area is mapped"),
        }
    }

    /// Splits the 2 MiB pages of an area in these blocks.
    fn split(
        &self,
        area: &AreaInfo,
        mut blocks: impl Iterator<Item = usize>,
        caller: Caller,
    ) -> Result<(), ProtectError> {
        if area.huge_pages == 0 {
            return Ok(());
        }
        let split = blocks.try_for_each(|number| self.reclaim().split_huge(number, caller));
        split.map_err(|_| ProtectError::OutOfFrames)
    }

    /// Returns the blocks that the range covers only in part.
    fn cut_blocks(&self, area: &AreaInfo, start: usize, end: usize) -> impl Iterator<Item = usize> {
        let is_inside = |edge: usize| !((edge - area.start) / PAGE_SIZE).is_multiple_of(BLOCK_PAGES);
        let edges = [start, end].into_iter().filter(move |&edge| is_inside(edge) && edge < area.mapped_end());
        edges.map(|edge| self.base().span.block_at(edge))
    }

    /// Changes the protection of the pages from `start` on that are in one block: the first address behind.
    ///
    /// Each entry is changed in one step: a CPU that writes, or `frame_at`, may mark it dirty meanwhile.
    fn protect_block(&self, start: usize, end: usize, protection: Protection, caller: Caller) -> usize {
        let (blocks, span) = (self.blocks(), &self.base().span);
        let number = span.block_at(start);
        let end = end.min(span.address(number + 1, 0));
        // Ends: another CPU may split the block once, or protect all of it, each time it goes around.
        loop {
            match blocks.mapping_of(number) {
                Some(Mapping::Small(leaf)) => {
                    let pages = &leaf[page_in_block(start)..][..(end - start) / PAGE_SIZE];
                    pages.iter().for_each(|slot| slot.update(|entry| entry.protected(protection)));
                    return end;
                }
                // Rights differ from those of the 2 MiB page from here on.
                Some(Mapping::Unflushed(_, link)) => blocks.finish_split(number, link, caller),
                Some(Mapping::Huge(slot, entry)) if entry.is_present() => {
                    debug_assert_eq!(end - start, BLOCK_SIZE, "what is covered in part was split");
                    if slot.replace(entry, entry.protected(protection)).is_ok() {
                        return end;
                    }
                }
                _ => unreachable!("block {number} of the area is mapped"),
            }
        }
    }
}
