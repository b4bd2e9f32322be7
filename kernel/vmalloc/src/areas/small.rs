//! Small areas: runs of pages in blocks that areas share.
//!
//! The fast path takes what the CPU's magazine has (`hot`), or else what its pool has. A free parks the area
//! in the magazine, or retires it with others. Whatever is traced takes the slow path.

mod hot;
mod long;
mod parked;

use super::{Areas, Attempt, Shape};
use crate::{
    AllocError, BLOCK_PAGES, CpuPin, Kind, PAGE_SIZE, Platform,
    blocks::Block,
    page_table::{
        Attributes, Entry, GuardInfo, Slot, Slots, mark_length, publish_area, publish_page, unmap_rest,
    },
    pending::Pressure,
    pools::PageRun,
    types::{Caller, Owner},
};
use core::ptr::NonNull;

/// A small area that is being freed: its first entry is claimed, so it is the caller's alone.
pub(super) struct Claimed<'a> {
    pub block: &'a Block,
    /// Its first page in the block.
    pub first: usize,
    /// The block's leaf table.
    pub leaf: &'a Slots,
    /// What its first entry was.
    pub entry: Entry,
}

/// Bytes of the longest area that shares a block if it can have one of its own: where two do not fit, sharing
/// gains nothing.
const MOST_FAST: usize = (BLOCK_PAGES / 2 - 1) * PAGE_SIZE;

/// The entries of an area's pages, and that of the guard page behind.
#[inline(always)]
fn slots_of(leaf: &Slots, page: usize, pages: usize) -> (&[Slot], &Slot) {
    let first = page % BLOCK_PAGES;
    match leaf.get(first..first + pages + 1).and_then(<[Slot]>::split_last) {
        Some((end, pages)) => (pages, end),
        None => unreachable!("a small area ends in its block"),
    }
}

impl<P: Platform> Areas<P> {
    /// Returns what the guard page behind an area for `size` bytes tells.
    #[inline(always)]
    fn guard_of(&self, size: usize, caller: Caller) -> GuardInfo {
        let (slack, made) = (size.wrapping_neg() % PAGE_SIZE, self.base().now());
        GuardInfo { slack, kind: Kind::Vmalloc, caller, made }
    }

    /// Allocates an area of its own frames, aligned to a page, from what the CPU's pool has. `None`: it is not to be had
    /// so.
    #[inline(never)]
    pub(super) fn allocate_fast(
        &self,
        size: usize,
        attributes: Attributes,
        caller: Caller,
    ) -> Option<NonNull<u8>> {
        if size.wrapping_sub(1) >= MOST_FAST || self.base().is_watched() {
            return None;
        }
        let pages = size.div_ceil(PAGE_SIZE);
        let pin = self.platform().pin_outside_interrupts()?;
        let run = self.pools.take_near(&pin, Owner::Area, pages + 1, 1)?;
        let cpu = pin.cpu();
        drop(pin);
        let (slots, end) = slots_of(run.leaf, run.page, pages);
        // As below, without loops.
        if pages == 1
            && end.get().is_unused()
            && publish_page(&slots[0], end, attributes, || Entry::guard(self.guard_of(size, caller)))
        {
            return NonNull::new(self.span().page_address(run.page) as *mut u8);
        }
        if !self.refill(slots, attributes, Attempt::Usual, cpu) {
            self.undo_small(&run, slots, 0);
            return None;
        }
        NonNull::new(self.finish(&run, pages, 0, self.guard_of(size, caller), cpu) as *mut u8)
    }

    /// Makes an area that shares a block: its address.
    #[inline]
    pub(super) fn make_small(&self, shape: &Shape<'_>, attempt: Attempt) -> Result<usize, AllocError> {
        let (below, owner) = (shape.below, shape.backing.owner());
        if below == 0
            && owner == Owner::Area
            && let Some(address) = self.take_aligned(shape)
        {
            return Ok(address);
        }
        let cpu = self.platform().pin().cpu();
        let run = self.pools.take(owner, below + shape.pages + 1, shape.align)?;
        let run = PageRun { page: run.page + below, ..run };
        let (slots, _) = slots_of(run.leaf, run.page, shape.pages);
        let filled = match owner {
            Owner::Area => self.refill(slots, shape.attributes, attempt, cpu),
            Owner::Caller => {
                self.give_cached_frames(slots);
                self.fill(slots, 0, shape) == slots.len()
            }
        };
        if !filled {
            self.undo_small(&run, slots, below);
            return Err(AllocError::NO_FRAMES);
        }
        Ok(self.finish(&run, shape.pages, below, shape.guard, cpu))
    }

    /// Makes an area of pages that were taken for it, with `below` guard pages below, and mapped. Returns its
    /// address. `cpu` is the one that this runs on, or was a moment ago.
    #[inline(always)]
    fn finish(&self, run: &PageRun<'_>, pages: usize, below: usize, guard: GuardInfo, cpu: usize) -> usize {
        let (slots, end) = slots_of(run.leaf, run.page, pages);
        if below > 0 {
            let below = &run.leaf[run.page % BLOCK_PAGES - 1];
            self.spare_frame(below, cpu);
            below.set(Entry::GUARD_BELOW);
            slots[0].change(Entry::with_guard_below);
        }
        self.spare_frame(end, cpu);
        // The guard first: who finds the first page may ask the guard whose it is.
        end.set(Entry::guard(guard));
        mark_length(slots);
        publish_area(&slots[0], &slots[pages - 1], pages);
        self.span().page_address(run.page)
    }

    /// Gives back pages some of which may be mapped. Nobody was told of the address, but a CPU may have speculated on
    /// what was mapped: it waits for a flush like what is freed. If nothing was, it goes back at once.
    #[cold]
    fn undo_small(&self, run: &PageRun<'_>, slots: &[Slot], below: usize) {
        let number = run.page / BLOCK_PAGES;
        let (first, count) = (run.page % BLOCK_PAGES - below, below + slots.len() + 1);
        if !slots.iter().any(Slot::is_present) {
            self.give_cached_frames(slots);
            return self.pools.give(number, first, count);
        }
        slots.iter().filter(|slot| slot.is_present()).for_each(Slot::unmap);
        let pin = self.platform().pin();
        let block = self.blocks().block(number, &pin);
        self.pending().retire(&pin, block, first, count, Owner::Area).leave_to_caller();
    }

    /// Frees a small area whose frames are `owner`'s.
    pub(super) fn free_small(&self, pin: &P::Pin, claimed: Claimed<'_>, owner: Owner) -> Pressure {
        let Claimed { first, leaf, entry, .. } = claimed;
        let below = usize::from(entry.has_guard_below());
        if below > 0 {
            leaf[first - 1].set_unused();
            // So that the page can be mapped again as it is.
            leaf[first].change(Entry::without_guard_below);
        }
        self.free_pages(pin, claimed, owner, below)
    }

    /// Unmaps the rest of an area's pages, and retires them with its guard pages, of which `below` are below it. The instance
    /// is not traced, or was told.
    #[inline(always)]
    fn free_pages(&self, pin: &P::Pin, claimed: Claimed<'_>, owner: Owner, below: usize) -> Pressure {
        let Claimed { block, first, leaf, entry } = claimed;
        let rest = &leaf[first + 1..];
        let more = match owner {
            Owner::Area => unmap_rest(entry, rest),
            Owner::Caller => match leaf[first..].iter().position(|slot| slot.get().is_guard()) {
                Some(pages) => {
                    leaf[first..first + pages].iter().for_each(Slot::set_unused);
                    pages - 1
                }
                None => unreachable!("the area has a guard page"),
            },
        };
        rest[more].set_unused();
        self.pending().retire(pin, block, first - below, below + more + 2, owner)
    }
}
