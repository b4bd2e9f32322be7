//! Areas of less than a block.
//!
//! A free page of a block may still have the frame it had when it was last in use, unmapped and
//! flushed. Mapping it again is one store: neither does the machine take the frame back and give
//! another, nor is a table searched. When frames run short they are given back
//! ([`release_frames`](Vmalloc::release_frames)).

use crate::{
    AllocError, Vmalloc,
    blocks::block::Block,
    calls::area::{claim, claim_any, publish, unmap},
    page_table::entries::{remap, unmap_to_last},
    page_table::entry::{Attributes, Entry, GuardInfo, Kind},
    platform::{BLOCK_PAGES, CpuPin, PAGE_SIZE, Platform, Table},
    pools::pool::{SmallRun, Supply},
    types::request::{Backing, Shape},
};
use core::{
    panic::Location,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// A small area that is being freed: its first entry is claimed, so it is the caller's alone.
pub(crate) struct Claimed<'a> {
    pub block: &'a Block,
    /// Its first page in the block.
    pub first: usize,
    /// The block's leaf table.
    pub leaf: &'a Table,
    /// What its first entry was.
    pub entry: Entry,
}

/// Bytes of the longest area that, with its guard page, fits a block.
pub(crate) const MOST: usize = (BLOCK_PAGES - 1) * PAGE_SIZE;

/// Bytes of the longest area that shares a block if it can have one of its own: where two do not fit, sharing
/// gains nothing.
const MOST_PLAIN: usize = (BLOCK_PAGES / 2 - 1) * PAGE_SIZE;

impl<P: Platform> Vmalloc<P> {
    /// An area of its own frames, aligned to a page, from this CPU's current block: the way of nearly all.
    /// `None` if it is not to be had so.
    #[inline(never)]
    pub(crate) fn allocate_plainly(
        &self,
        size: usize,
        attributes: Attributes,
        caller: &'static Location<'static>,
    ) -> Option<NonNull<u8>> {
        if self.is_traced() || size.wrapping_sub(1) >= MOST_PLAIN {
            return None;
        }
        let pages = size.div_ceil(PAGE_SIZE);
        let pin = self.platform.pin_outside_interrupts()?;
        let cpu = pin.cpu();
        let run = self.take_current(&pin, Supply::Owned, pages + 1, 1);
        let run = run.or_else(|| self.take_listed(&pin, Supply::Owned, pages + 1, 1))?;
        drop(pin);
        self.allocate_taken(&run, size, attributes, caller, cpu)
    }

    /// The same of one page, which kept its frame.
    #[inline(never)]
    pub(crate) fn allocate_page_plainly(
        &self,
        size: usize,
        attributes: Attributes,
        caller: &'static Location<'static>,
    ) -> Option<NonNull<u8>> {
        debug_assert!((1..=PAGE_SIZE).contains(&size));
        if self.is_traced() {
            return None;
        }
        let pin = self.platform.pin_outside_interrupts()?;
        let cpu = pin.cpu();
        let (page, leaf) = match self.pool(&pin, Supply::Owned).ahead.take(2) {
            Some(taken) => taken,
            None => self.take_page(&pin)?,
        };
        drop(pin);
        let first = page % BLOCK_PAGES;
        let (slot, end) = (&leaf[first], &leaf[first + 1]);
        let kept = Entry(slot.load(Ordering::Relaxed)).mapped_as(attributes);
        let Some(entry) = kept.filter(|_| Entry(end.load(Ordering::Relaxed)).is_unused()) else {
            return self.allocate_taken_page(page, leaf, size, attributes, caller, cpu);
        };
        let guard = GuardInfo { slack: PAGE_SIZE - size, kind: Kind::Vmalloc, caller };
        // The guard first, as in `finish_small`.
        end.store(Entry::guard(guard).0, Ordering::Relaxed);
        slot.store(entry.with_first().with_last().0, Ordering::Release);
        NonNull::new(self.page_address(page) as *mut u8)
    }

    /// A page and its guard page from the current block, and their leaf table.
    #[inline(never)]
    fn take_page(&self, pin: &P::Pin) -> Option<(usize, &Table)> {
        self.take_current(pin, Supply::Owned, 2, 1).map(|run| (run.page, run.leaf))
    }

    /// Makes an area in pages that were taken for it. `None`: frames ran out.
    #[inline(always)]
    fn allocate_taken(
        &self,
        run: &SmallRun<'_>,
        size: usize,
        attributes: Attributes,
        caller: &'static Location<'static>,
        cpu: usize,
    ) -> Option<NonNull<u8>> {
        let (pages, end) = self.small_slots(run, size.div_ceil(PAGE_SIZE));
        if !self.refill(pages, attributes, cpu) {
            self.undo_small(run, pages, 0);
            return None;
        }
        let guard = GuardInfo { slack: pages.len() * PAGE_SIZE - size, kind: Kind::Vmalloc, caller };
        NonNull::new(self.finish_small(run, pages, end, guard, cpu) as *mut u8)
    }

    /// The same where a page and its guard page have to be looked at.
    #[inline(never)]
    fn allocate_taken_page(
        &self,
        page: usize,
        leaf: &Table,
        size: usize,
        attributes: Attributes,
        caller: &'static Location<'static>,
        cpu: usize,
    ) -> Option<NonNull<u8>> {
        self.allocate_taken(&SmallRun { page, leaf, keeps: false }, size, attributes, caller, cpu)
    }

    pub(crate) fn allocate_small(&self, shape: &Shape<'_>, guard: GuardInfo) -> Result<usize, AllocError> {
        let supply = match shape.backing {
            Backing::Owned { .. } => Supply::Owned,
            _ => Supply::Foreign,
        };
        let cpu = self.platform.pin().cpu();
        let below = shape.pages_below();
        let run = self.take_pages(supply, below + shape.pages + 1, shape.align)?;
        let run = SmallRun { page: run.page + below, ..run };
        let (pages, end) = self.small_slots(&run, shape.pages);
        let filled = match supply {
            Supply::Owned => self.refill(pages, shape.attributes, cpu),
            Supply::Foreign => {
                self.give_kept_frames(pages);
                self.fill(pages, 0, shape) == pages.len()
            }
        };
        if !filled {
            self.undo_small(&run, pages, below);
            return Err(AllocError::OutOfFrames);
        }
        if below > 0 {
            self.set_guard_below(run.leaf, run.page % BLOCK_PAGES, cpu);
        }
        Ok(self.finish_small(&run, pages, end, guard, cpu))
    }

    /// The entries of an area's pages, and that of the guard page behind.
    #[inline(always)]
    fn small_slots<'a>(&self, run: &SmallRun<'a>, pages: usize) -> (&'a [AtomicU64], &'a AtomicU64) {
        let first = run.page % BLOCK_PAGES;
        let slots = run.leaf.get(first..first + pages + 1);
        match slots.and_then(<[AtomicU64]>::split_last) {
            Some((end, pages)) => (pages, end),
            None => unreachable!("a small area ends in its block"),
        }
    }

    /// Makes an area known whose pages are mapped: its address.
    #[inline(always)]
    fn finish_small(
        &self,
        run: &SmallRun<'_>,
        pages: &[AtomicU64],
        end: &AtomicU64,
        guard: GuardInfo,
        cpu: usize,
    ) -> usize {
        if let Some(frame) = Entry(end.load(Ordering::Relaxed)).quarantined_frame() {
            self.keep_spare(cpu, frame);
        }
        // The guard first: who finds the first page may ask the guard whose it is.
        end.store(Entry::guard(guard).0, Ordering::Relaxed);
        let (Some(first), Some(last)) = (pages.first(), pages.last()) else { unreachable!("it has pages") };
        publish(first, last);
        self.page_address(run.page)
    }

    /// Maps pages again to the frames they kept, and new frames where they kept none. `false`: frames
    /// ran out, some pages are mapped. `cpu` is the one this runs on, or was a moment ago.
    #[inline(always)]
    pub(crate) fn refill(&self, pages: &[AtomicU64], attributes: Attributes, cpu: usize) -> bool {
        let again = remap(pages, attributes);
        again == pages.len() || self.refill_rest(&pages[again..], attributes, cpu)
    }

    #[inline(never)]
    fn refill_rest(&self, mut pages: &[AtomicU64], attributes: Attributes, cpu: usize) -> bool {
        // Each turn maps a page at least, or is followed by one that does.
        while !pages.is_empty() {
            let Some(filled) = self.refill_some(pages, attributes, cpu) else { return false };
            pages = &pages[filled..];
            pages = &pages[remap(pages, attributes)..];
        }
        true
    }

    /// Maps the first page, whose frame had other attributes, or all pages up to the next one that kept its
    /// frame: how many. Or none, but has frames put into these pages, to be mapped as if they had been kept. `None`: frames
    /// ran out.
    fn refill_some(&self, pages: &[AtomicU64], attributes: Attributes, cpu: usize) -> Option<usize> {
        let entry = Entry(pages.first()?.load(Ordering::Relaxed));
        let kept = entry.quarantined_frame();
        if let Some(frame) = kept.or_else(|| self.take_spare(cpu)) {
            if attributes.are_zeroed() && !(kept.is_some() && entry.is_known_zero()) {
                self.zero(frame);
            }
            pages[0].store(Entry::page(frame, attributes).0, Ordering::Relaxed);
            return Some(1);
        }
        let keeps = |slot: &&AtomicU64| Entry(slot.load(Ordering::Relaxed)).quarantined_frame().is_some();
        let missing = pages.iter().take_while(|slot| !keeps(slot)).count();
        if self.is_turn_freeing() {
            return self.supply(&pages[..missing], attributes).then_some(0);
        }
        let mut empty = pages.iter();
        let taken = self.platform.take_frames(missing, |frame| {
            if attributes.are_zeroed() {
                self.zero(frame);
            }
            if let Some(slot) = empty.next() {
                slot.store(Entry::page(frame, attributes).0, Ordering::Relaxed);
            }
        });
        (taken == missing).then_some(missing)
    }

    /// Puts frames where pages, which are not mapped, keep none. `false`: there are not enough; but no CPU can have reached
    /// those that there were. So an allocation with the turn (`room`) leaves nothing that waits if it fails.
    #[cold]
    pub(crate) fn supply(&self, pages: &[AtomicU64], attributes: Attributes) -> bool {
        let lacks = |slot: &&AtomicU64| Entry(slot.load(Ordering::Relaxed)).quarantined_frame().is_none();
        let missing = pages.iter().filter(lacks).count();
        let mut empty = pages.iter().filter(lacks);
        let taken = self.platform.take_frames(missing, |frame| {
            if attributes.are_zeroed() {
                self.zero(frame);
            }
            if let Some(slot) = empty.next() {
                slot.store(Entry::page(frame, attributes).quarantined().0, Ordering::Relaxed);
            }
        });
        taken == missing
    }

    /// Gives back the frames that free pages kept, and leaves their entries unused.
    #[inline]
    pub(crate) fn give_kept_frames(&self, pages: &[AtomicU64]) {
        let kept = |slot: &AtomicU64| Entry(slot.load(Ordering::Relaxed)).quarantined_frame();
        if pages.iter().any(|slot| kept(slot).is_some()) {
            self.platform.give_frames(pages.iter().filter_map(|slot| {
                let frame = kept(slot)?;
                slot.store(Entry::UNUSED.0, Ordering::Relaxed);
                Some(frame)
            }));
        }
    }

    /// The leaf table of a block of small areas.
    #[inline]
    pub(crate) fn small_leaf(&self, block: &Block) -> &Table {
        match block.leaf(&self.platform) {
            Some(leaf) => leaf,
            None => unreachable!("a block of small areas has a leaf table"),
        }
    }

    /// Nobody was told of the address, but a CPU may have speculated on what was mapped: a free like any other. If
    /// nothing was, it goes back at once.
    #[cold]
    fn undo_small(&self, run: &SmallRun<'_>, pages: &[AtomicU64], below: usize) {
        let first = run.page % BLOCK_PAGES - below;
        if !pages.iter().any(|slot| Entry(slot.load(Ordering::Relaxed)).is_present()) {
            self.give_kept_frames(pages);
            return self.give_pages(run.page / BLOCK_PAGES, first, below + pages.len() + 1);
        }
        for slot in pages.iter().filter(|slot| Entry(slot.load(Ordering::Relaxed)).is_present()) {
            unmap(slot);
        }
        let block = self.block(run.page / BLOCK_PAGES);
        self.retire_pages(self.platform.pin(), block, first, below + pages.len() + 1);
    }

    /// Writes the guard page below the area that starts, or is to start, at page `first` of a block.
    pub(crate) fn set_guard_below(&self, leaf: &Table, first: usize, cpu: usize) {
        let (guard, start) = (&leaf[first - 1], &leaf[first]);
        if let Some(frame) = Entry(guard.load(Ordering::Relaxed)).quarantined_frame() {
            self.keep_spare(cpu, frame);
        }
        guard.store(Entry::GUARD_BELOW.0, Ordering::Relaxed);
        start.store(Entry(start.load(Ordering::Relaxed)).with_guard_below().0, Ordering::Relaxed);
    }

    /// Claims the area that starts at page `first`; `None` if there is none of this kind, or if it has a guard
    /// page below.
    #[inline(always)]
    pub(crate) fn claim_small(&self, block: &Block, first: usize, owned: bool) -> Option<Claimed<'_>> {
        let leaf = block.leaf(&self.platform)?;
        let entry = claim(&leaf[first], owned)?;
        // SAFETY: the area is the caller's alone, who frees it pinned.
        let block = unsafe { block.kept() };
        Some(Claimed { block, first, leaf, entry })
    }

    /// As [`claim_small`](Self::claim_small), of an area that may have a guard page below.
    pub(crate) fn claim_any_small(&self, block: &Block, first: usize, owned: bool) -> Option<Claimed<'_>> {
        let leaf = block.leaf(&self.platform)?;
        let entry = claim_any(&leaf[first], owned)?;
        // SAFETY: as in `claim_small`.
        let block = unsafe { block.kept() };
        Some(Claimed { block, first, leaf, entry })
    }

    /// Frees a small area that owns its frames, and may have a guard page below.
    pub(crate) fn free_any_claimed(&self, pin: P::Pin, claimed: Claimed<'_>) {
        let Claimed { block, first, leaf, entry } = claimed;
        if !entry.has_guard_below() {
            return self.free_claimed(pin, claimed);
        }
        let start = &leaf[first];
        // So that the page can be mapped again as it is.
        start.store(Entry(start.load(Ordering::Relaxed)).without_guard_below().0, Ordering::Relaxed);
        leaf[first - 1].store(Entry::UNUSED.0, Ordering::Relaxed);
        let pages = self.unmap_behind(block, first, leaf, entry);
        self.retire_pages(pin, block, first - 1, pages + 2);
    }

    /// Frees a small area that owns its frames, and has no guard page below.
    #[inline(always)]
    pub(crate) fn free_claimed(&self, pin: P::Pin, claimed: Claimed<'_>) {
        let Claimed { block, first, leaf, entry } = claimed;
        if !entry.is_last() || self.is_traced() {
            return self.free_claimed_long(pin, block, first, leaf, entry);
        }
        leaf[first + 1].store(Entry::UNUSED.0, Ordering::Relaxed);
        self.retire_pages(pin, block, first, 2);
    }

    /// The same of one of any length.
    #[inline(never)]
    fn free_claimed_long(&self, pin: P::Pin, block: &Block, first: usize, leaf: &Table, entry: Entry) {
        let pages = self.unmap_behind(block, first, leaf, entry);
        self.retire_pages(pin, block, first, pages + 1);
    }

    /// Unmaps the pages of an area behind its first one, which is claimed, and its guard: how many pages it had.
    #[inline(always)]
    fn unmap_behind(&self, block: &Block, first: usize, leaf: &Table, entry: Entry) -> usize {
        let rest = &leaf[first + 1..];
        let more = if entry.is_last() { 0 } else { unmap_to_last(rest) };
        rest[more].store(Entry::UNUSED.0, Ordering::Relaxed);
        if self.is_traced() {
            self.trace_free(block, first, more + 1);
        }
        more + 1
    }

    /// The same of one whose frames are somebody's: the entries keep nothing.
    pub(crate) fn free_foreign(&self, pin: P::Pin, claimed: Claimed<'_>) {
        let Claimed { block, first, leaf, .. } = claimed;
        let slots = &leaf[first..];
        let is_guard = |slot: &AtomicU64| Entry(slot.load(Ordering::Relaxed)).is_guard();
        let Some(pages) = slots.iter().position(is_guard) else { unreachable!("the area has a guard page") };
        for slot in &slots[..=pages] {
            slot.store(Entry::UNUSED.0, Ordering::Relaxed);
        }
        if self.is_traced() {
            self.trace_free(block, first, pages);
        }
        self.retire_locked(&pin, block.pages.lock(&pin), block.number(), first, pages + 1);
        self.count_retired(pin, pages + 1);
    }
}
