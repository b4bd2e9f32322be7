//! Resizing an area that cannot be resized in place as a small one.
//!
//! Shrinking a run gives its tail back. Growing takes the blocks behind it if they are free; if not, the area
//! moves: its page table entries are written at a new place, and not a byte is copied. Everything that can
//! fail happens before anything of the area changes.

mod small;

use super::{Areas, Attempt, Backing, Needs, Shape, shape::owned_pages};
use crate::{
    AllocError, AreaInfo, BLOCK_PAGES, CpuPin, Kind, PAGE_SIZE, Platform, Returned,
    blocks::Role,
    page_table::{Attributes, Entry, GuardInfo, Slot, Unflushed},
    pending::Pressure,
    span::run_blocks,
    types::{Caller, Owner},
};
use core::slice;

/// What stands behind an area, or all address space, is taken.
const NO_SPACE: AllocError = AllocError::NO_SPACE;

/// Where an area lies.
#[derive(Clone, Copy)]
struct Place {
    /// Its first block.
    number: usize,
    /// Its first page in that block; 0 for a run.
    first: usize,
    small: bool,
    /// Guard pages below a small area, blocks below a run that are its guard: one or none.
    below: usize,
}

/// A change of an area's size, in pages.
pub(crate) struct Resize {
    place: Place,
    old: usize,
    new: usize,
    guard: GuardInfo,
}

impl Resize {
    /// The block that the last page is to be in, of a run that gets no longer: its guard goes where a page is, so a 2 MiB
    /// page there must be split before.
    pub fn block_to_split(&self) -> Option<usize> {
        (!self.place.small && self.new <= self.old).then(|| self.place.number + run_blocks(self.new) - 1)
    }

    pub fn needs(&self) -> Needs {
        let tables =
            if self.place.small { 0 } else { run_blocks(self.new).saturating_sub(run_blocks(self.old)) };
        Needs::pages(self.new, self.new.saturating_sub(self.old) + tables, self.guard.caller)
    }
}

impl<P: Platform> Areas<P> {
    /// What is to be done to make an area, which owns its frames, `size` bytes long.
    pub fn plan_resize(&self, area: &AreaInfo, size: usize, caller: Caller) -> Result<Resize, AllocError> {
        let (new, slack) = owned_pages(self.base(), size)?;
        let pin = self.platform().pin();
        let (block, first) = self.blocks().area_place(area.start, &pin);
        let number = block.number();
        let small = matches!(block.role(), Role::Small { .. });
        let below = self.blocks().run_slot(number, first, &pin).get().has_guard_below().into();
        let guard = GuardInfo { slack, kind: Kind::Vmalloc, caller, made: self.base().now() };
        Ok(Resize { place: Place { number, first, small, below }, old: area.pages, new, guard })
    }

    /// Resizes a small area, or grows a run, where it is, or moves it: where it is now, and the pressure that its old place
    /// causes.
    pub fn resize(&self, resize: &Resize, attempt: Attempt) -> Result<(usize, Pressure), AllocError> {
        let &Resize { place, new, guard, .. } = resize;
        let (start, size) = (self.address_of(place), new * PAGE_SIZE - guard.slack);
        let grown = match attempt {
            _ if !place.small => self.grow_run(resize, attempt).map(|()| Pressure::Low),
            attempt => self.resize_small(start, size, guard.caller, attempt).ok_or(NO_SPACE),
        };
        match grown {
            Err(NO_SPACE) => self.grow_elsewhere(resize, attempt),
            grown => grown.map(|pressure| (start, pressure)),
        }
    }

    /// The entry of page `page` of an area.
    fn page_slot(&self, place: Place, page: usize) -> &Slot {
        self.blocks().run_slot(place.number, place.first + page, &self.platform().pin())
    }

    fn address_of(&self, place: Place) -> usize {
        self.span().address(place.number, place.first)
    }

    /// Writes the guard and marks the last page of an area whose first page is marked.
    fn set_end(&self, place: Place, pages: usize, guard: GuardInfo) {
        self.page_slot(place, pages).set(Entry::guard(guard));
        self.page_slot(place, pages - 1).mark_last();
    }

    /// Shrinks a run, whose [`block_to_split`](Resize::block_to_split) was split.
    pub fn shrink_run(&self, resize: &Resize) -> Pressure {
        let &Resize { place, old, new, guard } = resize;
        self.trace_resized(self.address_of(place), old, guard.caller);
        let mut pressure = Pressure::Low;
        if new < old {
            let (count, left) = (run_blocks(old), run_blocks(new));
            let end = place.number + left;
            self.set_head(place.number, count);
            if left < count {
                self.blocks().set_unused(end..place.number + count);
                // Readers must not look for the end in blocks that go.
                self.set_head(place.number, left);
                pressure = self.free_blocks(end, count - left, place.number + count);
            }
            self.drop_pages(place, new, old.min(left * BLOCK_PAGES), guard.caller);
            if left == count {
                self.page_slot(place, old).set_unused();
            }
        }
        self.set_end(place, new, guard);
        pressure
    }

    /// Unmaps those of pages `from..to` of an area that are mapped, flushes them, and gives their frames back.
    fn drop_pages(&self, place: Place, from: usize, to: usize, caller: Caller) {
        let slots = || (from..to).map(|page| self.page_slot(place, page));
        slots().filter(|slot| slot.is_present()).for_each(Slot::unmap);
        let start = self.address_of(place);
        let range = start + from * PAGE_SIZE..start + to * PAGE_SIZE;
        let slots = Unflushed::new(slots(), range).flush(self.base(), caller);
        self.platform().give_frames(Returned::new(slots.filter_map(|slot| slot.clear().quarantined_frame())));
    }

    /// Grows a run where it is. [`AllocError::OutOfAddressSpace`] if what lies behind it is not free.
    fn grow_run(&self, resize: &Resize, attempt: Attempt) -> Result<(), AllocError> {
        let &Resize { place, old, new, guard } = resize;
        let blocks = self.blocks();
        let (count, wanted) = (run_blocks(old), run_blocks(new));
        let added = place.number + count..place.number + wanted;
        if wanted > count {
            blocks.arena.allocate_at(self.platform(), added.start, wanted - count)?;
        }
        let opened = added.clone().try_for_each(|number| blocks.open_leaf(number));
        if let Err(error) = opened.and_then(|()| self.fill_behind(resize, attempt)) {
            if wanted > count {
                self.abandon_blocks(added.clone(), added);
            }
            return Err(error);
        }
        added.for_each(|number| blocks.link(number));
        for index in count..wanted {
            blocks.set_role(place.number + index, Role::Tail { behind: index as u32 });
        }
        self.set_head(place.number, wanted);
        // From here on nothing fails, and the area is another one.
        self.trace_resized(self.address_of(place), old, guard.caller);
        self.page_slot(place, old - 1).unmark_last();
        self.set_end(place, new, guard);
        Ok(())
    }

    /// Maps frames behind an area of `old` pages, its guard page first. On failure that is there again.
    fn fill_behind(&self, resize: &Resize, attempt: Attempt) -> Result<(), AllocError> {
        let end = self.page_slot(resize.place, resize.old);
        let guard = end.take();
        self.fill_pages(resize, resize.place, attempt).inspect_err(|_| end.set(guard))
    }

    /// Returns what pages are to be mapped as that an area gets behind its own.
    fn growth(&self, resize: &Resize) -> Attributes {
        Attributes::of_growth(self.page_slot(resize.place, resize.old - 1).get())
    }

    /// Maps frames at the pages that an area gets, which is at `place` or moves there, and behind which is to be a
    /// guard. On failure none is mapped.
    fn fill_pages(&self, resize: &Resize, place: Place, attempt: Attempt) -> Result<(), AllocError> {
        let (attributes, cpu) = (self.growth(resize), self.platform().pin().cpu());
        let slots = |page| slice::from_ref(self.page_slot(place, page));
        let filled = (resize.old..resize.new).all(|page| self.refill(slots(page), attributes, attempt, cpu));
        self.give_cached_frames(slots(resize.new));
        if filled {
            return Ok(());
        }
        self.drop_pages(place, resize.old, resize.new, resize.guard.caller);
        Err(AllocError::NO_FRAMES)
    }

    /// Moves an area: takes address space, tables and the additional frames, then moves the entries.
    fn grow_elsewhere(&self, resize: &Resize, attempt: Attempt) -> Result<(usize, Pressure), AllocError> {
        let &Resize { place: from, old, new, guard } = resize;
        let owned = Backing::Owned { huge: false };
        let shape = Shape { below: from.below, ..Shape::new(new, guard, self.growth(resize), owned) };
        let opened = match shape.is_small() {
            true => Err(AllocError::NO_SPACE),
            false => self.open_for_move(resize, &shape),
        };
        let to = match opened {
            Err(AllocError::OutOfAddressSpace { .. }) if shape.fits_block() => self.take_for_move(resize)?,
            opened => opened?,
        };
        self.fill_pages(resize, to, attempt).inspect_err(|_| match to.small {
            true => self.release_place(to, new).leave_to_caller(),
            false => self.abandon_place(to, run_blocks(new)),
        })?;
        if !to.small {
            // A 2 MiB page that moves is its own link.
            let tables = (to.number..to.number + run_blocks(new))
                .filter(|&number| self.blocks().find_leaf(number).is_some());
            tables.for_each(|number| self.blocks().link(number));
        }
        if from.below > 0 {
            self.move_guard_below(from, to);
        }
        let pressure = self.move_entries(from, old, to, guard.caller);
        if !to.small {
            return Ok((self.finish_run(to.number, new, guard), pressure));
        }
        self.page_slot(to, 0).mark_resized(old, new);
        self.set_end(to, new, guard);
        Ok((self.address_of(to), pressure))
    }

    /// Takes the pages that an area is to be moved to in a block that it shares, with no cached frames where the entries
    /// move.
    fn take_for_move(&self, &Resize { place: from, old, new, .. }: &Resize) -> Result<Place, AllocError> {
        let run = self.pools.take(Owner::Area, from.below + new + 1, 1)?;
        let first = run.page % BLOCK_PAGES;
        self.give_cached_frames(&run.leaf[first..][..from.below + old]);
        Ok(Place { number: run.page / BLOCK_PAGES, first: first + from.below, small: true, ..from })
    }

    /// Opens the blocks that an area is to be moved to as a run of this shape: with leaf tables, which are linked later,
    /// but those that will be mapped by a 2 MiB page that moves.
    fn open_for_move(&self, resize: &Resize, shape: &Shape<'_>) -> Result<Place, AllocError> {
        let &Resize { place: from, old, new, .. } = resize;
        let (number, count) = (self.open_run(shape)?, run_blocks(new));
        let to = Place { number, first: 0, small: false, ..from };
        let moves_whole = |index: usize| {
            let whole = !from.small && (index + 1) * BLOCK_PAGES <= old;
            whole && self.page_slot(from, index * BLOCK_PAGES).get().is_huge()
        };
        let opened = (0..count).try_for_each(|index| match moves_whole(index) {
            true => self.blocks().make(number + index).map(drop),
            false => self.blocks().open_leaf(number + index),
        });
        opened.inspect_err(|_| self.abandon_place(to, count))?;
        Ok(to)
    }

    /// Gives back the blocks of a run that nothing was moved to, and none of which is linked.
    fn abandon_place(&self, to: Place, count: usize) {
        let end = to.number + count;
        self.abandon_blocks(to.number..end, to.number - to.below..end);
    }

    /// Sets the guard page below an area at its new place, where the entry is unused yet, and removes it at the old.
    /// The first page's mark moves with that page's entry.
    fn move_guard_below(&self, from: Place, to: Place) {
        let below = |place: Place| &self.blocks().leaf_of(place.number)[place.first - 1];
        if from.small {
            below(from).set_unused();
        }
        if to.small {
            below(to).set(Entry::GUARD_BELOW);
        } else {
            self.blocks().set_role(to.number - 1, Role::GuardBelow);
        }
    }

    /// Moves the entries of `old` pages, and gives the old place back once no CPU can reach it.
    fn move_entries(&self, from: Place, old: usize, to: Place, caller: Caller) -> Pressure {
        self.trace_resized(self.address_of(from), old, caller);
        let mut page = 0;
        while page < old {
            // In one step: who knows the frame may have the entry marked dirty meanwhile.
            let entry = self.page_slot(from, page).take();
            let pages = if entry.is_huge() { BLOCK_PAGES } else { 1 };
            self.page_slot(to, page).set(if page == 0 { entry.without_last() } else { entry.unmarked() });
            page += pages;
        }
        self.page_slot(from, old).set_unused();
        // The frames are in use at their new place, from where they may be given back before the old one is flushed with
        // what else waits. Of a small area the guard is flushed too: a page was there if the area was cut, and nobody may
        // have flushed it since.
        let start = self.address_of(from);
        let end = start + (old + usize::from(from.small)) * PAGE_SIZE;
        let from = Unflushed::new(from, start..end).flush(self.base(), caller);
        self.release_place(from, old)
    }

    /// Gives the address space of an area of `pages` pages back, all of whose entries are zero; those
    /// of a small one were flushed.
    fn release_place(&self, place: Place, pages: usize) -> Pressure {
        let Place { number, below, .. } = place;
        if place.small {
            self.pools.give(number, place.first - below, below + pages + 1);
            return Pressure::Low;
        }
        let end = number + run_blocks(pages);
        self.blocks().set_unused(number - below..end);
        self.free_blocks(number - below, end - number + below, end)
    }
}
