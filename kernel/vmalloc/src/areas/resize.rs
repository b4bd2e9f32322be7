//! Resizing a small area where it is: the way of nearly all calls of `vrealloc`.
//!
//! What is cut off waits for a flush like what is freed: nothing is flushed for it. The guard page moves
//! forward, to where a page was, and takes that page's entry; so the frame waits in the entry of the old
//! guard page, a few pages behind. It is flushed in time all the same: both pages lie next to or in the run
//! of pages that became dirty with them, and a block remembers that a run of its dirty pages may have
//! something to flush one page before it.
//!
//! Growth takes the pages behind the area if they are free. They kept frames, too.

use crate::{
    Vmalloc,
    areas::small::MOST,
    blocks::block::{Block, Role},
    calls::area::{mark_last, unmark_last},
    page_table::entry::{Attributes, Entry, GuardInfo, Kind},
    platform::{BLOCK_PAGES, CpuPin, PAGE_SIZE, Platform},
    pools::pool::Supply,
};
use core::{
    panic::Location,
    sync::atomic::{AtomicU64, Ordering},
};

impl<P: Platform> Vmalloc<P> {
    /// Makes the small area of its own frames that starts at `address` `size` bytes long, where it is.
    /// `false`: nothing has changed; there is no such area, or no room behind it, or no frames, or this is an interrupt
    /// handler.
    #[inline(never)]
    pub(crate) fn resize_in_place(
        &self,
        address: usize,
        size: usize,
        caller: &'static Location<'static>,
    ) -> bool {
        let Some(page) = self.page(address) else { return false };
        let Some(pin) = self.platform.pin_outside_interrupts() else { return false };
        let (number, first) = (page / BLOCK_PAGES, page % BLOCK_PAGES);
        let Some(block) = self.near(&pin, Supply::Owned, number) else { return false };
        if size.wrapping_sub(1) >= MOST || !matches!(block.role(), Role::Small { .. }) {
            return false;
        }
        let Some(leaf) = block.leaf(&self.platform) else { return false };
        let slots = &leaf[first..];
        let entry = load(&slots[0]);
        if !entry.is_any_start(true) {
            return false;
        }
        // SAFETY: the area is the caller's alone.
        let block = unsafe { block.kept() };
        drop(pin);
        let mut old = 1;
        if !entry.is_last() {
            let Some(behind) = slots[1..].iter().position(|slot| load(slot).is_last()) else { return false };
            old += behind + 1;
        }
        let new = size.div_ceil(PAGE_SIZE);
        let guard = Entry::guard(GuardInfo { slack: new * PAGE_SIZE - size, kind: Kind::Vmalloc, caller });
        if new != old || self.is_traced() {
            return self.resize_pages(block, first, old, new, guard);
        }
        slots[old].store(guard.0, Ordering::Relaxed);
        true
    }

    /// Makes an area of `old` pages one of `new`.
    // Apart, so that less need be saved where the number of pages stays.
    #[inline(never)]
    fn resize_pages(&self, block: &Block, first: usize, old: usize, new: usize, guard: Entry) -> bool {
        let slots = &self.small_leaf(block)[first..];
        if new == old {
            self.trace_resized(block, first, old);
            slots[old].store(guard.0, Ordering::Relaxed);
            return true;
        }
        if new < old {
            self.trace_resized(block, first, old);
            // First: what is cut off is purged by whoever finds that too much waits, perhaps this thread.
            mark_last(&slots[new - 1]);
            self.cut(block, first, &slots[..old + 1], new, guard);
            return true;
        }
        if !self.extend(block, first, slots, old, new) {
            return false;
        }
        self.trace_resized(block, first, old);
        // The guard first, as when an area is made. Whoever looks meanwhile finds no area.
        slots[new].store(guard.0, Ordering::Relaxed);
        mark_last(&slots[new - 1]);
        unmark_last(&slots[old - 1]);
        true
    }

    /// The pages of an area from `new` on, up to its guard, which is the last of `slots`, go, and wait for a
    /// flush. `guard` is the entry of the guard page that is to be behind the rest.
    #[inline(always)]
    fn cut(&self, block: &Block, first: usize, slots: &[AtomicU64], new: usize, guard: Entry) {
        let [next, rest @ .., end] = &slots[new..] else { unreachable!("one page goes, and a guard") };
        end.store(hidden(next).0, Ordering::Relaxed);
        next.store(guard.0, Ordering::Relaxed);
        rest.iter().for_each(|slot| slot.store(hidden(slot).0, Ordering::Relaxed));
        let pin = self.platform.pin();
        let mut pages = block.pages.lock(&pin);
        (pages.keeps, pages.cut) = (true, true);
        let count = rest.len() + 1;
        self.retire_locked(&pin, pages, block.number(), first + new + 1, count);
        self.count_retired(pin, count);
    }

    /// Maps frames behind an area of `old` pages, its guard page first, so that there are `new` pages, and
    /// keeps room for a guard behind; `false`: there is no room, or no frames.
    fn extend(&self, block: &Block, first: usize, slots: &[AtomicU64], old: usize, new: usize) -> bool {
        let pin = self.platform.pin();
        let cpu = pin.cpu();
        let (behind, count) = (first + old + 1, new - old);
        let taken =
            self.pool(&pin, Supply::Owned).ahead.take_at(block.number() * BLOCK_PAGES + behind, count)
                || block.pages.lock(&pin).take_at(behind, count);
        drop(pin);
        if !taken {
            return false;
        }
        // What the page of the new guard kept serves that of the old one.
        let guard = load(&slots[old]);
        slots[old].store(load(&slots[new]).0, Ordering::Relaxed);
        let attributes = Attributes::of_growth(load(&slots[old - 1]));
        if self.refill(&slots[old..new], attributes, cpu) {
            return true;
        }
        self.undo_extend(block, first, slots, old, new, guard);
        false
    }

    /// Gives back pages that were taken behind an area, some of which may be mapped; `guard` is the entry of its guard
    /// page.
    #[cold]
    #[inline(never)]
    fn undo_extend(
        &self,
        block: &Block,
        first: usize,
        slots: &[AtomicU64],
        old: usize,
        new: usize,
        guard: Entry,
    ) {
        if slots[old..new].iter().any(|slot| load(slot).is_present()) {
            // Nobody was told of the pages, but a CPU may have speculated on them.
            return self.cut(block, first, &slots[..=new], old, guard);
        }
        // As before, but that no page keeps a frame.
        slots[new].store(load(&slots[old]).0, Ordering::Relaxed);
        slots[old].store(guard.0, Ordering::Relaxed);
        self.give_kept_frames(&slots[old + 1..=new]);
        self.give_pages(block.number(), first + old + 1, new - old);
    }

    #[inline(always)]
    fn trace_resized(&self, block: &Block, first: usize, old: usize) {
        if self.is_traced() {
            self.trace_free(block, first, old);
        }
    }
}

fn load(slot: &AtomicU64) -> Entry {
    Entry(slot.load(Ordering::Acquire))
}

/// What the entry of a page is to be once that is no longer mapped.
fn hidden(slot: &AtomicU64) -> Entry {
    let entry = load(slot);
    if entry.is_present() { entry.quarantined().unmarked() } else { entry }
}
