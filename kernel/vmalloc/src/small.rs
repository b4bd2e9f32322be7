//! Areas of less than a block.
//!
//! A free page of a block may still have the frame it had when it was last in use, unmapped and
//! flushed. Mapping it again is one store: neither does the machine take the frame back and give
//! another, nor is a table searched. When frames run short they are given back
//! ([`release_frames`](Vmalloc::release_frames)).

use crate::{
    AllocError, Vmalloc,
    area::{claim, publish, unmap},
    block::{Block, Role},
    entry::{Attributes, Entry, GuardInfo, Kind},
    platform::{BLOCK_PAGES, Frame, PAGE_SIZE, Platform, Table},
    pool::{SmallRun, Supply},
    request::{Backing, Shape},
};
use core::{
    iter,
    panic::Location,
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

/// Bytes of the longest area that fits a block with its guard page.
const MOST: usize = (BLOCK_PAGES - 1) * PAGE_SIZE;

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
        if size.wrapping_sub(1) >= MOST {
            return None;
        }
        let pages = size.div_ceil(PAGE_SIZE);
        let run = self.take_current(&self.platform.pin(), Supply::Owned, pages + 1, 1)?;
        let slots = &self.small_leaf(run.block)[run.first..=run.first + pages];
        if !remap(&slots[..pages], attributes) && !self.refill(&slots[..pages], attributes) {
            self.undo_small(&run, &slots[..pages]);
            return None;
        }
        let guard = GuardInfo { slack: pages * PAGE_SIZE - size, kind: Kind::Vmalloc, caller };
        NonNull::new(self.finish_small(&run, slots, guard) as *mut u8)
    }

    pub(crate) fn allocate_small(&self, shape: &Shape<'_>, guard: GuardInfo) -> Result<usize, AllocError> {
        let supply = match shape.backing {
            Backing::Owned { .. } => Supply::Owned,
            _ => Supply::Foreign,
        };
        let run = self.take_pages(supply, shape.pages + 1, shape.align)?;
        let slots = &self.small_leaf(run.block)[run.first..=run.first + shape.pages];
        let pages = &slots[..shape.pages];
        let filled = match supply {
            Supply::Owned => self.refill(pages, shape.attributes),
            Supply::Foreign => {
                self.give_kept_frames(pages);
                self.fill(pages, 0, shape) == pages.len()
            }
        };
        if !filled {
            self.undo_small(&run, pages);
            return Err(AllocError::OutOfFrames);
        }
        Ok(self.finish_small(&run, slots, guard))
    }

    /// Makes an area known whose pages are mapped; the last of `slots` is the guard page's. Its address.
    #[inline]
    fn finish_small(&self, run: &SmallRun<'_>, slots: &[AtomicU64], guard: GuardInfo) -> usize {
        let Some((end, pages)) = slots.split_last() else { unreachable!("there is a guard page") };
        self.give_kept_frames(slice::from_ref(end));
        // The guard first: who finds the first page may ask the guard whose it is.
        end.store(Entry::guard(guard).0, Ordering::Relaxed);
        publish(&pages[0], &pages[pages.len() - 1]);
        self.address(run.block.number(), run.first)
    }

    /// Maps pages again to the frames they kept, and new frames where they kept none. Pages that are
    /// mapped stay so. `false`: frames ran out, some pages are mapped.
    pub(crate) fn refill(&self, pages: &[AtomicU64], attributes: Attributes) -> bool {
        let mut missing = 0;
        for slot in pages {
            let entry = Entry(slot.load(Ordering::Relaxed));
            match entry.quarantined_frame() {
                Some(frame) => {
                    if attributes.are_zeroed() && !entry.is_known_zero() {
                        self.zero(frame);
                    }
                    slot.store(Entry::page(frame, attributes).0, Ordering::Relaxed);
                }
                None => missing += usize::from(!entry.is_present()),
            }
        }
        missing == 0 || self.refill_missing(pages, missing, attributes)
    }

    fn refill_missing(&self, pages: &[AtomicU64], missing: usize, attributes: Attributes) -> bool {
        let mut empty = pages.iter().filter(|slot| !Entry(slot.load(Ordering::Relaxed)).is_present());
        let map = |frame| {
            if attributes.are_zeroed() {
                self.zero(frame);
            }
            if let Some(slot) = empty.next() {
                slot.store(Entry::page(frame, attributes).0, Ordering::Relaxed);
            }
        };
        self.platform.take_frames(missing, map) == missing
    }

    /// Gives back the frames that free pages kept, and leaves their entries unused.
    #[inline]
    pub(crate) fn give_kept_frames(&self, pages: &[AtomicU64]) {
        for slot in pages {
            if let Some(frame) = Entry(slot.load(Ordering::Relaxed)).quarantined_frame() {
                slot.store(Entry::UNUSED.0, Ordering::Relaxed);
                self.platform.give_frames(iter::once(frame));
            }
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

    /// Nobody was told of the address, but a CPU may have speculated on it: a free like any other.
    #[cold]
    fn undo_small(&self, run: &SmallRun<'_>, pages: &[AtomicU64]) {
        for slot in pages.iter().filter(|slot| Entry(slot.load(Ordering::Relaxed)).is_present()) {
            unmap(slot);
        }
        self.retire_pages(run, pages.len() + 1);
    }

    /// Frees the area that starts at page `first`; `false` if there is none of this kind.
    #[inline]
    pub(crate) fn free_small(&self, block: &Block, first: usize, owned: bool) -> bool {
        let Some(leaf) = block.leaf(&self.platform) else { return false };
        let Some(entry) = claim(&leaf[first], owned) else { return false };
        let run = SmallRun::at(block, first);
        if owned {
            self.free_claimed(&run, leaf, entry)
        } else {
            self.free_foreign(&run, leaf)
        }
        true
    }

    /// Frees a small area that owns its frames, whose first entry, which was `entry`, is claimed.
    #[inline]
    pub(crate) fn free_claimed(&self, run: &SmallRun<'_>, leaf: &Table, entry: Entry) {
        let rest = &leaf[run.first + 1..];
        let mut more = 0;
        if !entry.is_last() {
            for slot in rest {
                more += 1;
                if unmap(slot).is_last() {
                    break;
                }
            }
            // Its mark goes, so that it can be mapped again as it is.
            let last = &rest[more - 1];
            last.store(Entry(last.load(Ordering::Relaxed)).unmarked().0, Ordering::Relaxed);
        }
        rest[more].store(Entry::UNUSED.0, Ordering::Relaxed);
        self.retire_pages(run, more + 2);
    }

    /// The same of one whose frames are somebody's: the entries keep nothing.
    fn free_foreign(&self, run: &SmallRun<'_>, leaf: &Table) {
        let slots = &leaf[run.first..];
        let is_guard = |slot: &AtomicU64| Entry(slot.load(Ordering::Relaxed)).is_guard();
        let Some(pages) = slots.iter().position(is_guard) else { unreachable!("the area has a guard page") };
        for slot in &slots[..=pages] {
            slot.store(Entry::UNUSED.0, Ordering::Relaxed);
        }
        let pin = self.platform.pin();
        self.retire_locked(&pin, run.block.pages.lock(&pin), run, pages + 1);
        self.count_retired(pin, pages + 1);
    }

    /// Gives the machine all frames that free pages kept.
    pub(crate) fn release_frames(&self) {
        for number in self.table.numbers() {
            while self.release_some(number) {}
        }
    }

    /// Gives back some of the frames that free pages of a block kept; whether there may be more.
    fn release_some(&self, number: usize) -> bool {
        const AT_ONCE: usize = 64;
        let Some(block) = self.table.get(number) else { return false };
        let pin = self.platform.pin();
        let mut frames = [Frame::new(0); AT_ONCE];
        let mut count = 0;
        {
            let pages = block.pages.lock(&pin);
            let small = matches!(block.role(), Role::Small { .. });
            let Some(leaf) = block.leaf(&self.platform).filter(|_| small) else { return false };
            for (page, slot) in leaf.iter().enumerate() {
                let kept = Entry(slot.load(Ordering::Relaxed)).quarantined_frame();
                if let Some(frame) = kept.filter(|_| pages.is_free(page)) {
                    slot.store(Entry::UNUSED.0, Ordering::Relaxed);
                    frames[count] = frame;
                    count += 1;
                    if count == AT_ONCE {
                        break;
                    }
                }
            }
        }
        self.platform.give_frames(frames[..count].iter().copied());
        count == AT_ONCE
    }
}

/// Maps the frames that free pages kept, which were mapped with these attributes before. `false`: not all
/// of them did, or were.
#[inline]
fn remap(pages: &[AtomicU64], attributes: Attributes) -> bool {
    for slot in pages {
        match Entry(slot.load(Ordering::Relaxed)).mapped_as(attributes) {
            Some(entry) => slot.store(entry.0, Ordering::Relaxed),
            None => return false,
        }
    }
    true
}
