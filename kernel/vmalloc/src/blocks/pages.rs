//! What each page of a block of small areas is, in two bits.
//!
//! ```text
//!            open  stale
//! live        0     0     allocated
//! dirty       0     1     unmapped; some CPU may still have it in its TLB
//! flushing    1     1     dirty when the flush that is under way began
//! free        1     0
//! ```
//! So eight word operations move all dirty pages of a block to flushing, and eight all flushing ones
//! to free, however many areas they were.

use crate::{
    BLOCK_PAGES, Stamp,
    bitmap::{Bitmap, View, WORDS, starts_of_runs},
    types::Owner,
};
use core::mem;

/// Where a block of small areas stands with its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// In no list: nothing in it is free.
    No,
    /// The block its CPU allocates from.
    Current,
    /// In the bin of blocks whose longest free run has this log2.
    Bin(u8),
}

/// What each page of a block is, and where the block stands. Guarded by the block's lock.
pub(crate) struct Pages {
    open: Bitmap,
    stale: Bitmap,
    /// When the pages that are flushing were unmapped, at the latest; never if there are none.
    flushing_since: Stamp,
    free: u16,
    stale_count: u16,
    /// No word below has a free page.
    lowest: u8,
    listed: Listed,
    /// Whether the block is in a list of blocks with dirty pages, or in the hands of a purge.
    lazy: bool,
    /// Whether free pages may have frames cached in their entries: areas that own theirs were freed here.
    has_frames: bool,
    /// Whether the page before a run of stale ones may have to be flushed with it.
    cut: bool,
}

impl Pages {
    pub const fn new() -> Self {
        Self {
            open: Bitmap::FULL,
            stale: Bitmap::EMPTY,
            flushing_since: Stamp::NEVER,
            free: BLOCK_PAGES as u16,
            stale_count: 0,
            lowest: 0,
            listed: Listed::No,
            lazy: false,
            has_frames: false,
            cut: false,
        }
    }

    #[inline]
    fn free_view(&self) -> View<impl Fn(usize) -> u64> {
        View(|index| self.open.word(index) & !self.stale.word(index))
    }

    /// Takes the lowest free run of `count` pages aligned to `align` pages: the page it starts at.
    #[inline(always)]
    pub fn take(&mut self, count: usize, align: usize) -> Option<usize> {
        let index = usize::from(self.lowest) % WORDS;
        let word = self.open.word(index);
        let free = word & !self.stale.word(index);
        if align == 1 && free != 0 {
            // Mostly the lowest free run is long enough, or another one in the same word.
            let bit = free.trailing_zeros() as usize;
            let first = index * 64 + bit;
            let run = (!(free >> bit)).trailing_zeros() as usize;
            if run >= count {
                self.take_in_word(index, bit, count);
                self.lowest = ((first + count) / 64) as u8;
                return Some(first);
            }
            if bit + run == 64 && self.take_at(first, count) {
                self.lowest = ((first + count) / 64) as u8;
                return Some(first);
            }
            let starts = if count <= 64 { starts_of_runs(free, count) } else { 0 };
            if starts != 0 {
                let bit = starts.trailing_zeros() as usize;
                self.take_in_word(index, bit, count);
                return Some(index * 64 + bit);
            }
        }
        self.take_anywhere(count, align)
    }

    #[inline(always)]
    fn take_in_word(&mut self, index: usize, bit: usize, count: usize) {
        let pages = (u64::MAX >> (64 - count)) << bit;
        self.open.set_word(index, self.open.word(index) & !pages);
        self.free -= count as u16;
    }

    fn take_anywhere(&mut self, count: usize, align: usize) -> Option<usize> {
        if self.free() < count {
            return None;
        }
        let mut lowest = usize::from(self.lowest);
        while lowest < WORDS && (self.free_view().0)(lowest) == 0 {
            lowest += 1;
        }
        self.lowest = lowest as u8;
        let first = self.free_view().find(lowest, count, align)?;
        self.open.clear(first, count);
        self.free -= count as u16;
        Some(first)
    }

    /// Takes the lowest free run of at least `count` pages, and what is free behind these: the page it starts
    /// at, and how many were taken behind.
    #[inline(always)]
    pub fn take_all_of_run(&mut self, count: usize) -> Option<(usize, usize)> {
        let index = usize::from(self.lowest) % WORDS;
        let free = self.open.word(index) & !self.stale.word(index);
        let bit = free.trailing_zeros() as usize;
        // Where there are holes alone, the lowest one often fits.
        if free != 0 && (!(free >> bit)).trailing_zeros() as usize == count && bit + count < 64 {
            self.take_in_word(index, bit, count);
            return Some((index * 64 + bit, 0));
        }
        self.take_long(count)
    }

    #[inline(never)]
    fn take_long(&mut self, count: usize) -> Option<(usize, usize)> {
        match self.free() {
            BLOCK_PAGES => {
                self.open = Bitmap::EMPTY;
                self.free = 0;
                return Some((0, BLOCK_PAGES - count));
            }
            free if free < count => return None,
            _ => {}
        }
        let first = self.take(count, 1)?;
        let next = first + count;
        if next >= BLOCK_PAGES || !self.is_free(next) {
            return Some((first, 0));
        }
        let behind = self.free_view().run_from(next);
        self.open.clear(next, behind);
        self.free -= behind as u16;
        Some((first, behind))
    }

    /// Takes `count` pages from `first` if all of them are free.
    pub fn take_at(&mut self, first: usize, count: usize) -> bool {
        let fits = first + count <= BLOCK_PAGES && self.free_view().all(first, count);
        if fits {
            self.open.clear(first, count);
            self.free -= count as u16;
        }
        fits
    }

    /// Live pages that every CPU has flushed become free.
    pub fn give(&mut self, first: usize, count: usize) {
        self.open.set(first, count);
        self.free += count as u16;
        self.lowest = self.lowest.min((first / 64) as u8);
    }

    /// Where the block stands with its pool.
    #[inline(always)]
    pub fn listed(&self) -> Listed {
        self.listed
    }

    /// Says where the block stands with its pool; for who has that pool's lock, or takes it out of the pool.
    pub fn set_listed(&mut self, listed: Listed) {
        self.listed = listed;
    }

    /// Whether free pages may have frames cached in their entries.
    #[inline(always)]
    pub fn has_frames(&self) -> bool {
        self.has_frames
    }

    /// Whether the block waits for a purge, or is in the hands of one.
    pub fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// Live pages that were just unmapped become dirty; `owner` tells whose frames they show. Returns whether the block
    /// has to be put into a list of blocks that wait for a flush: it is in none.
    #[inline(always)]
    #[must_use]
    pub fn retire(&mut self, first: usize, count: usize, owner: Owner) -> bool {
        self.make_dirty(first, count, owner);
        self.enlist()
    }

    /// Makes live pages dirty, for who sees to it that a purge comes to the block.
    #[inline(always)]
    pub fn make_dirty(&mut self, first: usize, count: usize, owner: Owner) {
        self.stale.set(first, count);
        self.stale_count += count as u16;
        if owner == Owner::Area {
            self.has_frames = true;
        }
    }

    /// Says that a purge is to come to the block. Returns whether it has to be put into a list of blocks that wait.
    #[must_use]
    #[inline(always)]
    pub fn enlist(&mut self) -> bool {
        !mem::replace(&mut self.lazy, true)
    }

    /// As [`retire`](Self::retire), of pages that are cut off an area: the guard page before them took the entry of a
    /// page that was mapped, and that must be flushed with them.
    #[must_use]
    pub fn retire_cut(&mut self, first: usize, count: usize) -> bool {
        self.cut = true;
        self.retire(first, count, Owner::Area)
    }

    /// Pages of which none is live become so, whether or not they wait for a flush: how many did. `None`:
    /// one is live.
    pub fn revive(&mut self, first: usize, count: usize) -> Option<usize> {
        if !View(|index| self.open.word(index) | self.stale.word(index)).all(first, count) {
            return None;
        }
        let mut waited = 0;
        for page in first..first + count {
            let (index, bit) = (page / 64, 1 << (page % 64));
            waited += usize::from(self.stale.word(index) & bit != 0);
            self.open.set_word(index, self.open.word(index) & !bit);
            self.stale.set_word(index, self.stale.word(index) & !bit);
        }
        self.stale_count -= waited as u16;
        self.free -= (count - waited) as u16;
        Some(waited)
    }

    /// Whether these pages are live.
    pub fn are_live(&self, first: usize, count: usize) -> bool {
        View(|index| !(self.open.word(index) | self.stale.word(index))).all(first, count)
    }

    /// Dirty pages become flushing; how many are now.
    pub fn begin_flush(&mut self, stamp: Stamp) -> usize {
        for index in 0..WORDS {
            self.open.set_word(index, self.open.word(index) | self.stale.word(index));
        }
        self.flushing_since = stamp;
        self.stale_count.into()
    }

    /// Ends what [`begin_flush`](Self::begin_flush) began, for a purge that has the block: flushing pages become free, if
    /// `flushed` says so of the time they were unmapped. Returns how many did, and whether the block has to be put into
    /// a list again, because something waits on.
    #[must_use]
    pub fn end_purge(&mut self, flushed: impl Fn(Stamp) -> bool) -> (usize, bool) {
        let freed = self.end_flush(flushed);
        self.lazy = self.stale_count > 0;
        (freed, self.lazy)
    }

    /// Flushing pages become free, if `flushed` says so of the time they were unmapped; how many did.
    pub fn end_flush(&mut self, flushed: impl Fn(Stamp) -> bool) -> usize {
        if self.flushing_since == Stamp::NEVER || !flushed(self.flushing_since) {
            return 0;
        }
        self.flushing_since = Stamp::NEVER;
        let mut dirty = 0;
        for index in 0..WORDS {
            let word = self.stale.word(index) & !self.open.word(index);
            self.stale.set_word(index, word);
            // Mostly nothing was freed meanwhile; counting bits is slow.
            if word != 0 {
                dirty += word.count_ones() as u16;
            }
        }
        let pages = self.stale_count - dirty;
        self.free += pages;
        self.stale_count = dirty;
        self.cut &= dirty != 0;
        self.lowest = 0;
        pages.into()
    }

    /// The block was unmapped as a whole, just now.
    pub fn retire_all(&mut self) {
        self.flushing_since = Stamp::NEVER;
    }

    /// When the pages that are flushing were unmapped, at the latest.
    pub fn flushing_since(&self) -> Stamp {
        self.flushing_since
    }

    /// Pages that are dirty or flushing.
    pub fn stale(&self) -> usize {
        self.stale_count.into()
    }

    /// The runs of pages, at or above page `from`, that are dirty or flushing.
    pub fn stale_runs(&self, from: usize) -> impl Iterator<Item = (usize, usize)> {
        View(|index| self.stale.word(index)).runs(from)
    }

    /// The runs of pages that have to be flushed.
    pub fn runs_to_flush(&self) -> impl Iterator<Item = (usize, usize)> {
        let cut = usize::from(self.cut);
        self.stale_runs(0).map(move |(first, end)| (first.saturating_sub(cut), end))
    }

    /// Free pages.
    pub fn free(&self) -> usize {
        self.free.into()
    }

    /// Whether the page is free.
    #[inline]
    pub fn is_free(&self, page: usize) -> bool {
        (self.free_view().0)(page / 64) >> (page % 64) & 1 != 0
    }

    pub fn longest_run(&self) -> usize {
        match self.free() {
            all_or_none @ (0 | BLOCK_PAGES) => all_or_none,
            _ => self.free_view().longest_run(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
