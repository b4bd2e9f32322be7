//! Areas of less than a block.
//!
//! A free page of a block may still have the frame it had when it was last in use, unmapped and
//! flushed. Mapping it again is one store: neither does the machine take the frame back and give
//! another, nor is a table searched. When frames run short they are given back
//! ([`release_frames`](Vmalloc::release_frames)).

use crate::{
    AllocError, Vmalloc,
    area::{claim, clear, publish, unmap},
    block::Block,
    entry::{Attributes, Entry, GuardInfo},
    flush::Unflushed,
    platform::{Frame, PAGE_SIZE, Platform, Table},
    pool::SmallRun,
    request::{Backing, Shape},
};
use core::{
    iter,
    sync::atomic::{AtomicU64, Ordering},
};

impl<P: Platform> Vmalloc<P> {
    #[inline]
    pub(crate) fn allocate_small(&self, shape: &Shape<'_>, guard: GuardInfo) -> Result<usize, AllocError> {
        let run = self.take_pages(shape.pages + 1, shape.align)?;
        let leaf = self.small_leaf(run.block);
        let entries = &leaf[run.first..=run.first + shape.pages];
        let (pages, end) = entries.split_at(shape.pages);
        let filled = match shape.backing {
            Backing::Owned { zeroed, .. } => self.refill(pages, shape.attributes, zeroed),
            _ => {
                self.give_kept_frames(pages);
                self.fill(pages, 0, shape) == pages.len()
            }
        };
        if !filled {
            self.undo_small(&run, pages);
            return Err(AllocError::OutOfFrames);
        }
        self.give_kept_frames(end);
        // The guard first: who finds the first page may ask the guard whose it is.
        end[0].store(Entry::guard(guard).0, Ordering::Relaxed);
        publish(&pages[0], &pages[shape.pages - 1]);
        Ok(self.address(run.number, run.first))
    }

    /// Maps pages again to the frames they kept, and new frames where they kept none. `false`: frames
    /// ran out, some pages are mapped.
    #[inline]
    pub(crate) fn refill(&self, pages: &[AtomicU64], attributes: Attributes, zeroed: bool) -> bool {
        let mut missing = 0;
        for slot in pages {
            let entry = Entry(slot.load(Ordering::Relaxed));
            match entry.quarantined_frame() {
                Some(frame) => {
                    if zeroed && !entry.is_known_zero() {
                        self.zero(frame);
                    }
                    slot.store(Entry::page(frame, attributes).0, Ordering::Relaxed);
                }
                None => missing += 1,
            }
        }
        missing == 0 || self.refill_missing(pages, missing, attributes, zeroed)
    }

    fn refill_missing(
        &self,
        pages: &[AtomicU64],
        missing: usize,
        attributes: Attributes,
        zeroed: bool,
    ) -> bool {
        let mut empty = pages.iter().filter(|slot| !Entry(slot.load(Ordering::Relaxed)).is_present());
        let map = |frame| {
            if zeroed {
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

    /// Frees the area that starts at page `first`; `false` if there is none of this kind. One that owns
    /// its frames waits for a flush; one that does not is flushed now: its frames are somebody's.
    #[inline]
    pub(crate) fn free_small(&self, number: usize, block: &Block, first: usize, owned: bool) -> bool {
        let Some(leaf) = block.leaf(&self.platform) else { return false };
        let Some(entry) = claim(&leaf[first], owned) else { return false };
        self.free_claimed(&SmallRun { block, number, first }, entry, owned);
        true
    }

    /// Frees a small area whose first entry, which was `entry`, is claimed.
    #[inline]
    pub(crate) fn free_claimed(&self, run: &SmallRun<'_>, mut entry: Entry, owned: bool) {
        let (leaf, first) = (self.small_leaf(run.block), run.first);
        let mut pages = 1;
        while !entry.is_last() {
            let Some(slot) = leaf.get(first + pages) else { unreachable!("a small area ends in its block") };
            entry = unmap(slot);
            pages += 1;
        }
        let Some(guard) = leaf.get(first + pages) else { unreachable!("a small area has a guard page") };
        guard.store(Entry::UNUSED.0, Ordering::Relaxed);
        if owned {
            self.retire_pages(run, pages + 1);
        } else {
            self.flush_foreign(run, &leaf[first..first + pages]);
        }
    }

    /// Flushes pages whose frames are not the area's, and gives the pages and the guard page back.
    fn flush_foreign(&self, run: &SmallRun<'_>, pages: &[AtomicU64]) {
        let start = self.address(run.number, run.first);
        Unflushed::new(pages, start..start + pages.len() * PAGE_SIZE)
            .flush(&self.platform, self.flush_ceiling())
            .iter()
            .for_each(|slot| {
                clear(slot);
            });
        self.give_pages(run, pages.len() + 1);
    }

    /// Gives the machine all frames that free pages kept.
    pub(crate) fn release_frames(&self) {
        for number in self.table.numbers() {
            while self.release_some(number) {}
        }
    }

    /// Gives back some of the frames that free pages of a block kept; whether there may be more.
    fn release_some(&self, number: usize) -> bool {
        const MOST: usize = 64;
        let Some(block) = self.table.get(number) else { return false };
        let pin = self.platform.pin();
        let mut frames = [Frame::new(0); MOST];
        let mut count = 0;
        {
            let pages = block.pages.lock(&pin);
            let small = matches!(block.role(), crate::block::Role::Small { .. });
            let Some(leaf) = block.leaf(&self.platform).filter(|_| small) else { return false };
            for (page, slot) in leaf.iter().enumerate() {
                let kept = Entry(slot.load(Ordering::Relaxed)).quarantined_frame();
                if let Some(frame) = kept.filter(|_| pages.is_free(page)) {
                    slot.store(Entry::UNUSED.0, Ordering::Relaxed);
                    frames[count] = frame;
                    count += 1;
                    if count == MOST {
                        break;
                    }
                }
            }
        }
        self.platform.give_frames(frames[..count].iter().copied());
        count == MOST
    }
}
