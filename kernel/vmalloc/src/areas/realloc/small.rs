//! Resizing a small area in place: the path of nearly all calls of `vrealloc`.
//!
//! What is cut off waits for a flush like what is freed: nothing is flushed for it. The guard page moves down,
//! to where a page was; the frame of the page that becomes the guard waits in the old guard page's entry:
//!
//! ```text
//!            page 0     page 1     page 2       page 3       page 4
//! before     frame A    frame B    frame C      frame D      guard
//! after      frame A    frame B    guard        D, waiting   C, waiting     an area of four pages is cut to two
//!                                  ╰ flushed ╯  ╰──────── dirty ───────╯
//! ```
//! Page 2 may still be translated to frame C, and is not dirty. It is flushed in time all the same: it lies directly
//! before the run of pages that became dirty, and a block remembers that a run of its dirty pages may have something to
//! flush one page before it.
//!
//! Growth takes the pages behind the area if they are free; these may have cached frames, too. Or it takes back
//! what the block's last cut retired, if that is just as much, and no flush has begun since: the drawing read
//! upwards. Each page, even the former guard, then leads again to the frame that CPUs may have for it, with the
//! same rights. So nothing is taken back by an area that was protected, or has had more than 16 pages, which are
//! both marked as [changed](Entry::is_changed), nor by code. Another area ends before what was cut off only if it
//! was parked as it was, or after the guard page there was given back or flushed, which makes the cut forgotten. So
//! this needs no flush, as `magazines` explains for parked areas; and it is done only where there are magazines.

use crate::{
    BLOCK_PAGES, CpuPin, Kind, PAGE_SIZE, Platform,
    areas::{Areas, Attempt},
    blocks::Role,
    page_table::{Attributes, Entry, GuardInfo, Slot, Slots},
    pending::Pressure,
    types::{Caller, Owner},
};

/// Bytes of the longest area that, with its guard page, fits a block.
const MOST: usize = (BLOCK_PAGES - 1) * PAGE_SIZE;

/// How a small area is resized: by the fast path, of which nobody is told, or in an [`Attempt`] of the slow one. Numbers, so
/// that each has code of its own.
const FAST: u8 = 0;
const USUAL: u8 = 1;
const LAST: u8 = 2;

impl<P: Platform> Areas<P> {
    /// Makes the small area of its own frames that starts at `address` `size` bytes long, where it is, if nobody watches the
    /// instance. `None`: nothing has changed; there is no such area, or no room behind it, or no frames, or this is an
    /// interrupt handler.
    #[inline(never)]
    pub fn resize_fast(&self, address: usize, size: usize, caller: Caller) -> Option<Pressure> {
        if self.base().is_watched() {
            return None;
        }
        self.resize_here::<FAST>(address, size, caller)
    }

    /// Makes a small area as long as [`resize_fast`](Self::resize_fast) does, in an attempt of this kind.
    #[cold]
    pub(super) fn resize_small(
        &self,
        address: usize,
        size: usize,
        caller: Caller,
        attempt: Attempt,
    ) -> Option<Pressure> {
        match attempt {
            Attempt::Usual => self.resize_here::<USUAL>(address, size, caller),
            Attempt::Last => self.resize_here::<LAST>(address, size, caller),
        }
    }

    #[inline(always)]
    fn resize_here<const HOW: u8>(&self, address: usize, size: usize, caller: Caller) -> Option<Pressure> {
        let page = self.span().page_starting_at(address)?;
        let pin = self.platform().pin_outside_interrupts()?;
        let (number, first) = (page / BLOCK_PAGES, page % BLOCK_PAGES);
        let block = self.pools.find_block(&pin, Owner::Area, number)?;
        if size.wrapping_sub(1) >= MOST || !matches!(block.role(), Role::Small { .. }) {
            return None;
        }
        let leaf = block.leaf(self.platform())?;
        let slots = &leaf[first..];
        let entry = slots[0].look();
        if !entry.is_resizable() {
            return None;
        }
        drop(pin);
        let mut old = 1;
        if !entry.is_last() {
            old += slots[1..].iter().position(|slot| slot.look().is_last())? + 1;
        }
        let new = size.div_ceil(PAGE_SIZE);
        let (slack, made) = (new * PAGE_SIZE - size, self.base().now());
        let guard = Entry::guard(GuardInfo { slack, kind: Kind::Vmalloc, caller, made });
        if new != old || HOW != FAST {
            return self.resize_pages::<HOW>(leaf, page, old, new, guard);
        }
        slots[old].set(guard);
        Some(Pressure::Low)
    }

    /// Makes an area of `old` pages from page `page` of the span on, in a block with this leaf table, one of `new`.
    // Apart, so that less need be saved where the number of pages stays.
    #[inline(never)]
    fn resize_pages<const HOW: u8>(
        &self,
        leaf: &Slots,
        page: usize,
        old: usize,
        new: usize,
        guard: Entry,
    ) -> Option<Pressure> {
        let slots = &leaf[page % BLOCK_PAGES..];
        let attempt = if HOW == LAST { Attempt::Last } else { Attempt::Usual };
        if new > old && !self.extend(page, slots, old, new, attempt) {
            return None;
        }
        if HOW != FAST && self.base().is_traced() {
            self.tell_resized(page, old, guard);
        }
        if new != old {
            slots[0].mark_resized(old, new);
        }
        if new < old {
            slots[new - 1].mark_last();
            return Some(self.cut(page, &slots[..old + 1], new, guard));
        }
        // The guard first, as when an area is made. Whoever looks meanwhile finds no area.
        slots[new].set(guard);
        if new > old {
            slots[new - 1].mark_last();
            slots[old - 1].unmark_last();
        }
        Some(Pressure::Low)
    }

    /// Tells the machine that an area of `old` pages is resized, which will have this guard.
    #[cold]
    #[inline(never)]
    fn tell_resized(&self, page: usize, old: usize, guard: Entry) {
        let Some(GuardInfo { caller, .. }) = guard.guard_info() else {
            unreachable!("it is a guard page's entry")
        };
        self.trace_resized(self.span().page_address(page), old, caller);
    }

    /// The pages of an area from `new` on, up to its guard, which is the last of `slots`, go, and wait for a
    /// flush. `guard` is the entry of the guard page that is to be behind the rest.
    #[inline(always)]
    fn cut(&self, page: usize, slots: &[Slot], new: usize, guard: Entry) -> Pressure {
        let [next, rest @ .., end] = &slots[new..] else { unreachable!("one page goes, and a guard") };
        end.set(unmapped(next));
        next.set(guard);
        rest.iter().for_each(|slot| slot.set(unmapped(slot)));
        let (pin, number, first) = (self.platform().pin(), page / BLOCK_PAGES, page % BLOCK_PAGES);
        let block = self.pools.find_block(&pin, Owner::Area, number);
        let Some(block) = block else { unreachable!("block {number} has a descriptor") };
        self.pending().retire_cut(&pin, block, first + new + 1, rest.len() + 1)
    }

    /// Maps frames behind an area of `old` pages, its guard page first, so that there are `new` pages, and
    /// keeps room for a guard behind; `false`: there is no room, or no frames.
    #[inline(always)]
    fn extend(&self, page: usize, slots: &[Slot], old: usize, new: usize, attempt: Attempt) -> bool {
        let pin = self.platform().pin();
        let (number, next) = (page / BLOCK_PAGES, page % BLOCK_PAGES + old + 1);
        // What is parked shows that pages may be used again before a flush; and code is not, as `magazines` has it.
        let first = slots[0].get();
        let is_hot = self.magazines.of(&pin).is_some() && !first.is_changed() && !first.is_executable();
        let (cpu, taken) = (pin.cpu(), self.pools.take_at(&pin, number, next, new - old, is_hot));
        drop(pin);
        if !taken {
            return false;
        }
        // What the page of the new guard cached serves that of the old one.
        let guard = slots[old].get();
        let cached = slots[new].get();
        if cached.is_present() {
            self.blocks().report_foreign(&slots[new]);
        }
        slots[old].set(cached);
        let attributes = Attributes::of_growth(slots[old - 1].look());
        let extended = self.refill(&slots[old..new], attributes, attempt, cpu);
        if !extended {
            self.undo_extend(page, slots, old, new, guard);
        }
        extended
    }

    /// Gives back pages that were taken behind an area, some of which may be mapped; `guard` is the entry of its guard
    /// page.
    #[cold]
    #[inline(never)]
    fn undo_extend(&self, page: usize, slots: &[Slot], old: usize, new: usize, guard: Entry) {
        if slots[old..new].iter().any(Slot::is_present) {
            // Nobody was told of the pages, but a CPU may have speculated on them.
            return self.cut(page, &slots[..=new], old, guard).leave_to_caller();
        }
        // As before, but that no page has a cached frame. Nothing that was cut off is here, which would have to wait for a flush:
        // of that the first page has a frame, that of the guard, and is mapped.
        slots[new].set(slots[old].get());
        slots[old].set(guard);
        self.give_cached_frames(&slots[old + 1..=new]);
        self.pools.give(page / BLOCK_PAGES, page % BLOCK_PAGES + old + 1, new - old);
    }
}

/// What the entry of a page is to be once that is no longer mapped.
fn unmapped(slot: &Slot) -> Entry {
    let entry = slot.look();
    if entry.is_present() { entry.quarantined().unmarked() } else { entry }
}
