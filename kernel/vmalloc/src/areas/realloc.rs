//! Resizing an area of its own memory.
//!
//! Shrinking gives the tail back. Growing takes the pages behind the area if they are free; if not,
//! the area moves: its page table entries are written at a new place, and not a byte is copied. All
//! that can fail happens before anything of the area changes.

use crate::{
    AllocError, FreeError, ReallocError, Vmalloc,
    areas::run::blocks_for,
    blocks::block::Role,
    calls::area::{clear, mark_last, unmap, unmark_last},
    inspect::find::AreaInfo,
    page_table::entry::{Attributes, Entry, GuardInfo, Kind},
    page_table::flush::Unflushed,
    platform::{BLOCK_PAGES, BLOCK_SHIFT, CpuPin, PAGE_SHIFT, PAGE_SIZE, Platform},
    pools::pool::Supply,
    reclaim::shortage::Shortage,
    types::request::{Backing, Shape},
};
use core::{
    panic::Location,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// Where an area lies.
#[derive(Clone, Copy)]
struct Place {
    /// Its first block.
    number: usize,
    /// Its first page in that block; 0 for a run.
    first: usize,
    small: bool,
    /// Whether it has a guard page below, or a block of its own that is one.
    guard_below: bool,
}

impl Place {
    /// Blocks below a run that are its guard, pages below a small area.
    fn below(self) -> usize {
        self.guard_below.into()
    }
}

impl<P: Platform> Vmalloc<P> {
    /// Makes the area at `address` `size` bytes long, and returns where it is now. What both sizes have
    /// in common keeps its contents and its protection; what is new has undefined contents, and the protection
    /// of the page that was the last: of an area with several, who wants another sets it. The area keeps its
    /// alignment only where it stays, and is aligned to a page where it moves. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`ReallocError`]; the area is as it was then.
    ///
    /// # Safety
    /// Nobody else uses the area, nor its old address afterwards.
    #[track_caller]
    pub unsafe fn vrealloc(&self, address: NonNull<u8>, size: usize) -> Result<NonNull<u8>, ReallocError> {
        let caller = Location::caller();
        let now = if self.resize_in_place(address.as_ptr() as usize, size, caller) {
            Ok(address)
        } else if self.platform.in_interrupt() {
            return Err(FreeError::InInterrupt { address: address.as_ptr() as usize, caller }.into());
        } else {
            let area = self.own_area(address.as_ptr() as usize, caller)?;
            self.resize_area(&area, size, caller)
        };
        Ok(self.traced(size, caller, now)?)
    }

    fn resize_area(
        &self,
        area: &AreaInfo,
        size: usize,
        caller: &'static Location<'static>,
    ) -> Result<NonNull<u8>, AllocError> {
        let (pages, slack) = self.owned_pages_for(size)?;
        let guard = GuardInfo { slack, kind: Kind::Vmalloc, caller };
        let offset = area.start - self.range.start;
        let (number, first) = (offset >> BLOCK_SHIFT, offset >> PAGE_SHIFT & (BLOCK_PAGES - 1));
        let small = matches!(self.block(number).role(), Role::Small { .. });
        let start = Entry(self.run_entry(number, first).load(Ordering::Relaxed));
        let place = Place { number, first, small, guard_below: start.has_guard_below() };
        let tables = if small { 0 } else { blocks_for(pages).saturating_sub(blocks_for(area.pages)) };
        let frames = pages.saturating_sub(area.pages) + tables;
        let shortage = Shortage { frames, ticket: self.purge_ticket() };
        let grow_in_place = || match small {
            false => self.grow_run(place, area.pages, pages, guard),
            true if self.resize_in_place(area.start, size, caller) => Ok(()),
            true => Err(AllocError::OutOfAddressSpace),
        };
        let grow = || match grow_in_place() {
            Err(AllocError::OutOfAddressSpace) => self.grow_elsewhere(place, area.pages, pages, guard),
            result => result.map(|()| area.start),
        };
        let now = if pages <= area.pages {
            debug_assert!(!small, "nothing stands in the way of cutting a small area");
            self.shrink_run(place, area.pages, pages, guard)?;
            area.start
        } else {
            grow().or_else(|error| self.make_room(error, shortage, grow))?
        };
        NonNull::new(now as *mut u8).ok_or(AllocError::OutOfAddressSpace)
    }

    fn own_area(&self, address: usize, caller: &'static Location<'static>) -> Result<AreaInfo, FreeError> {
        match self.find_area(address) {
            Some(area) if area.start == address && area.kind == Kind::Vmalloc => Ok(area),
            _ => Err(self.why_not(address, caller)),
        }
    }

    /// The entry of page `page` of an area.
    fn page_entry(&self, place: Place, page: usize) -> &AtomicU64 {
        self.run_entry(place.number, place.first + page)
    }

    /// Writes the guard and marks the last page of an area whose first page is marked.
    fn set_end(&self, place: Place, pages: usize, guard: GuardInfo) {
        self.page_entry(place, pages).store(Entry::guard(guard).0, Ordering::Relaxed);
        mark_last(self.page_entry(place, pages - 1));
    }

    /// From here on nothing fails, and the area is another one.
    fn unmark_last(&self, place: Place, pages: usize) {
        self.trace_old(place, pages);
        unmark_last(self.page_entry(place, pages - 1));
    }

    /// The area as it was, of `pages` pages, is no more.
    fn trace_old(&self, place: Place, pages: usize) {
        if self.is_traced() {
            self.trace_free(self.block(place.number), place.first, pages);
        }
    }

    fn shrink_run(&self, place: Place, old: usize, new: usize, guard: GuardInfo) -> Result<(), AllocError> {
        if new == old {
            self.trace_old(place, old);
            self.set_end(place, new, guard);
            return Ok(());
        }
        let (count, kept) = (blocks_for(old), blocks_for(new));
        let last = place.number + kept - 1;
        // The guard goes where a page is: a 2 MiB page there must become small ones.
        self.split_huge_in_room(last)?;
        self.set_head(place.number, count);
        self.unmark_last(place, old);
        if kept < count {
            for number in last + 1..place.number + count {
                self.block(number).set_role(Role::Unused);
            }
            // Readers must not look for the end in blocks that go.
            self.set_head(place.number, kept);
            self.free_blocks(last + 1, count - kept, place.number + count);
        }
        self.drop_pages(place, new, old.min(kept * BLOCK_PAGES));
        if kept == count {
            self.page_entry(place, old).store(Entry::UNUSED.0, Ordering::Relaxed);
        }
        self.set_end(place, new, guard);
        Ok(())
    }

    /// Unmaps those of pages `from..to` of an area that are mapped, flushes them, and gives their frames back.
    fn drop_pages(&self, place: Place, from: usize, to: usize) {
        let entries = || (from..to).map(|page| self.page_entry(place, page));
        entries().filter(|slot| Entry(slot.load(Ordering::Relaxed)).is_present()).for_each(|slot| {
            unmap(slot);
        });
        let start = self.address(place.number, place.first);
        let range = start + from * PAGE_SIZE..start + to * PAGE_SIZE;
        let entries = Unflushed::new(entries(), range).flush(self);
        self.platform.give_frames(entries.filter_map(|slot| clear(slot).quarantined_frame()));
    }

    /// [`AllocError::OutOfAddressSpace`] if what lies behind the area is not free.
    fn grow_run(&self, place: Place, old: usize, new: usize, guard: GuardInfo) -> Result<(), AllocError> {
        let (count, wanted) = (blocks_for(old), blocks_for(new));
        let end = place.number + count;
        if wanted > count {
            self.arena.allocate_at(&self.platform, end, wanted - count)?;
        }
        let added = end..place.number + wanted;
        let opened = added.clone().try_for_each(|number| self.open_leaf(number).map(drop));
        if let Err(error) = opened.and_then(|()| self.fill_behind(place, old, new)) {
            if wanted > count {
                self.abandon_blocks(added.clone(), added);
            }
            return Err(error);
        }
        added.for_each(|number| self.link_block(number));
        for index in count..wanted {
            self.block(place.number + index).set_role(Role::Tail { behind: index as u32 });
        }
        self.set_head(place.number, wanted);
        self.unmark_last(place, old);
        self.set_end(place, new, guard);
        Ok(())
    }

    /// Maps frames behind an area of `old` pages, its guard page first. On failure that is there again.
    fn fill_behind(&self, place: Place, old: usize, new: usize) -> Result<(), AllocError> {
        let end = self.page_entry(place, old);
        let guard = end.swap(Entry::UNUSED.0, Ordering::Relaxed);
        self.fill_pages(place, old, new, self.growth(place, old))
            .inspect_err(|_| end.store(guard, Ordering::Relaxed))
    }

    /// What pages are to be that an area of `pages` pages gets behind them.
    fn growth(&self, place: Place, pages: usize) -> Attributes {
        Attributes::of_growth(Entry(self.page_entry(place, pages - 1).load(Ordering::Relaxed)))
    }

    /// Maps frames at pages `from..to`, behind which is to be a guard. On failure none is mapped.
    fn fill_pages(
        &self,
        place: Place,
        from: usize,
        to: usize,
        attributes: Attributes,
    ) -> Result<(), AllocError> {
        let cpu = self.platform.pin().cpu();
        let filled = (from..to)
            .all(|page| self.refill(core::slice::from_ref(self.page_entry(place, page)), attributes, cpu));
        self.give_kept_frames(core::slice::from_ref(self.page_entry(place, to)));
        if filled {
            return Ok(());
        }
        self.drop_pages(place, from, to);
        Err(AllocError::OutOfFrames)
    }

    /// Moves an area: takes address space, tables and the additional frames, then moves the entries.
    fn grow_elsewhere(
        &self,
        from: Place,
        old: usize,
        new: usize,
        guard: GuardInfo,
    ) -> Result<usize, AllocError> {
        let attributes = self.growth(from, old);
        let shape = Shape {
            pages: new,
            align: 1,
            slack: guard.slack,
            attributes,
            backing: Backing::Owned { huge: false },
            kind: Kind::Vmalloc,
            guard_below: from.guard_below,
            within: None,
            wait: true,
        };
        let in_shared = || -> Result<Place, AllocError> {
            let page = self.take_pages(Supply::Owned, from.below() + new + 1, 1)?.page + from.below();
            Ok(Place { number: page / BLOCK_PAGES, first: page % BLOCK_PAGES, small: true, ..from })
        };
        let to = if shape.is_small() {
            in_shared()?
        } else {
            match self.open_for_move(from, old, new) {
                Err(AllocError::OutOfAddressSpace) if shape.fits_block() => in_shared()?,
                opened => opened?,
            }
        };
        // Pages of blocks that were just opened keep no frames.
        for page in 0..if to.small { old } else { 0 } {
            self.give_kept_frames(core::slice::from_ref(self.page_entry(to, page)));
        }
        if let Err(error) = self.fill_pages(to, old, new, attributes) {
            if to.small {
                self.release_place(to, new);
            } else {
                self.abandon_place(to, blocks_for(new));
            }
            return Err(error);
        }
        if !to.small {
            // A 2 MiB page that moves is its own link.
            let tables = (to.number..to.number + blocks_for(new))
                .filter(|&number| self.block(number).leaf(&self.platform).is_some());
            tables.for_each(|number| self.link_block(number));
        }
        if from.guard_below {
            self.move_guard_below(from, to);
        }
        self.move_entries(from, old, to);
        if to.small {
            self.set_end(to, new, guard);
        } else {
            self.finish_run(to.number, new, guard);
        }
        Ok(self.address(to.number, to.first))
    }

    /// Opens the blocks that an area is to be moved to as a run of `new` pages.
    fn open_for_move(&self, from: Place, old: usize, new: usize) -> Result<Place, AllocError> {
        let (below, count) = (from.below(), blocks_for(new));
        let number = self.open_run(below, count, 1, None)?;
        let to = Place { number, first: 0, small: false, ..from };
        self.open_moved_blocks(from, old, to, count).inspect_err(|_| self.abandon_place(to, count))?;
        Ok(to)
    }

    /// Gives back the blocks of a run that nothing was moved to, and none of which is linked.
    fn abandon_place(&self, to: Place, count: usize) {
        let end = to.number + count;
        self.abandon_blocks(to.number..end, to.number - to.below()..end);
    }

    /// Sets the guard page below an area at its new place, whose entries are all unused yet, and removes it at the old.
    /// The first page's mark moves with that page's entry.
    fn move_guard_below(&self, from: Place, to: Place) {
        let below = |place: Place| &self.small_leaf(self.block(place.number))[place.first - 1];
        if from.small {
            below(from).store(Entry::UNUSED.0, Ordering::Relaxed);
        }
        if to.small {
            self.give_kept_frames(core::slice::from_ref(below(to)));
            below(to).store(Entry::GUARD_BELOW.0, Ordering::Relaxed);
        } else {
            self.block(to.number - 1).set_role(Role::GuardBelow);
        }
    }

    /// Gives the blocks of a run that is to be moved to leaf tables, which are linked later, but those that will be
    /// mapped by a 2 MiB page that moves.
    fn open_moved_blocks(&self, from: Place, old: usize, to: Place, count: usize) -> Result<(), AllocError> {
        for index in 0..count {
            let moves_whole = !from.small
                && (index + 1) * BLOCK_PAGES <= old
                && Entry(self.page_entry(from, index * BLOCK_PAGES).load(Ordering::Relaxed)).is_huge();
            if moves_whole {
                self.make_block(to.number + index)?;
            } else {
                self.open_leaf(to.number + index)?;
            }
        }
        Ok(())
    }

    /// Moves the entries of `old` pages, and gives the old place back once no CPU can reach it.
    fn move_entries(&self, from: Place, old: usize, to: Place) {
        self.trace_old(from, old);
        let mut page = 0;
        while page < old {
            // In one step: who knows the frame may have the entry marked dirty meanwhile.
            let entry = Entry(self.page_entry(from, page).swap(Entry::UNUSED.0, Ordering::Relaxed));
            let moved = if page + if entry.is_huge() { BLOCK_PAGES } else { 1 } >= old {
                entry.without_last()
            } else {
                entry
            };
            self.page_entry(to, page).store(moved.0, Ordering::Relaxed);
            page += if entry.is_huge() { BLOCK_PAGES } else { 1 };
        }
        self.page_entry(from, old).store(Entry::UNUSED.0, Ordering::Relaxed);
        if from.small {
            let start = self.address(from.number, from.first);
            // The guard too: a page was there if the area was cut, and nobody may have flushed it since.
            let range = start..start + (old + 1) * PAGE_SIZE;
            let from = Unflushed::new(from, range).flush(self);
            self.release_place(from, old);
        } else {
            // The frames are in use at their new place, from where they may be given back before the
            // old one is flushed with what else waits.
            let start = self.address(from.number, 0);
            Unflushed::new((), start..start + old * PAGE_SIZE).flush(self);
            self.release_place(from, old);
        }
    }

    /// Gives the address space of an area of `pages` pages back, all of whose entries are zero; those
    /// of a small one were flushed.
    fn release_place(&self, place: Place, pages: usize) {
        let (number, below) = (place.number, place.below());
        if place.small {
            return self.give_pages(number, place.first - below, below + pages + 1);
        }
        let count = blocks_for(pages);
        for number in number - below..number + count {
            self.block(number).set_role(Role::Unused);
        }
        self.free_blocks(number - below, below + count, number + count);
    }
}
