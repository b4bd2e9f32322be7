//! What each page of a block of small areas is, in two bits.
//!
//! ```text
//!            open  unflushed
//! live        0     0          allocated
//! dirty       0     1          unmapped; some CPU may still have it in its TLB
//! flushing    1     1          dirty when the flush that is under way began
//! free        1     0
//! ```
//! So eight word operations move all dirty pages of a block to flushing, and eight more move all flushing
//! ones to free, however many areas they were.

use crate::{
    BLOCK_PAGES, Stamp,
    bitmap::{Bitmap, View, WORDS, bits, starts_of_runs},
    types::Owner,
};
use core::mem;

/// Which list of its pool a block of small areas is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// It is in no list: nothing in it is free.
    No,
    /// It is the block that its CPU allocates from.
    Current,
    /// It is in the bin of blocks whose longest free run has this log2.
    Bin(u8),
}

/// What each page of a block is, and which lists the block is in. Guarded by the block's lock.
// In this order: what is small lies in one line with the rest of the descriptor, and each bitmap in one of its own. A block
// that a CPU fills and another one purges as a whole moves each line once in each direction.
#[repr(C)]
pub(crate) struct Pages {
    /// A stamp taken after the pages that are flushing were unmapped; [`Stamp::NEVER`] if there are none.
    flushing_since: Stamp,
    free: u16,
    unflushed_count: u16,
    /// The pages that were [cut off](Pages::cut) an area last, if they are dirty: the first, and how many they are.
    last_cut: (u16, u16),
    /// No word below has a free page.
    lowest: u8,
    listed: Listed,
    /// Whether the block is in a list of blocks with dirty pages, or in the hands of a purge.
    lazy: bool,
    /// Whether free pages may have frames cached in their entries: areas that own theirs were freed here.
    has_frames: bool,
    /// Whether the page before a run of unflushed ones may have to be flushed with it.
    cut: bool,
    open: Bitmap,
    unflushed: Bitmap,
}

const NO_CUT: (u16, u16) = (0, 0);

const _: () =
    assert!(mem::offset_of!(Pages, open) == 24, "the descriptor's first line ends before the bitmaps");

impl Pages {
    pub const fn new() -> Self {
        Self {
            open: Bitmap::FULL,
            unflushed: Bitmap::EMPTY,
            flushing_since: Stamp::NEVER,
            free: BLOCK_PAGES as u16,
            unflushed_count: 0,
            lowest: 0,
            listed: Listed::No,
            lazy: false,
            has_frames: false,
            cut: false,
            last_cut: NO_CUT,
        }
    }

    #[inline]
    fn free_view(&self) -> View<impl Fn(usize) -> u64> {
        View(|index| self.open.word(index) & !self.unflushed.word(index))
    }

    /// Takes the lowest free run of `count` pages that is aligned to `align` pages, and returns the page it starts at.
    #[inline(always)]
    pub fn take(&mut self, count: usize, align: usize) -> Option<usize> {
        let index = usize::from(self.lowest) % WORDS;
        let free = (self.free_view().0)(index);
        if align == 1 && free != 0 {
            // The lowest free run is usually long enough, or another one in the same word.
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
        self.open.set_word(index, self.open.word(index) & !bits(bit, count));
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

    /// Takes the lowest free run of at least `count` pages as a whole. Returns the page it starts at, and how many pages
    /// behind the `count` were taken.
    #[inline(always)]
    pub fn take_all_of_run(&mut self, count: usize) -> Option<(usize, usize)> {
        let index = usize::from(self.lowest) % WORDS;
        let free = (self.free_view().0)(index);
        let bit = free.trailing_zeros() as usize;
        // Where there are only holes, the lowest one often fits.
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
                self.take_all();
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

    /// Takes all pages, which are free.
    pub fn take_all(&mut self) {
        debug_assert_eq!(self.free(), BLOCK_PAGES);
        self.open = Bitmap::EMPTY;
        self.free = 0;
    }

    /// Takes `count` pages from `first` if all of them are free, and returns whether they are.
    pub fn take_at(&mut self, first: usize, count: usize) -> bool {
        let fits = first + count <= BLOCK_PAGES && self.free_view().all(first, count);
        if fits {
            self.open.clear(first, count);
            self.free -= count as u16;
        }
        fits
    }

    /// Makes live pages free that every CPU has flushed.
    pub fn give(&mut self, first: usize, count: usize) {
        debug_assert!(self.are_live(first, count), "not all of {count} pages from {first} on are live");
        // The guard page of the area that was cut: the next one that ends there may have other rights.
        if (first..first + count).contains(&usize::from(self.last_cut.0.wrapping_sub(1))) {
            self.last_cut = NO_CUT;
        }
        self.open.set(first, count);
        self.free += count as u16;
        self.lowest = self.lowest.min((first / 64) as u8);
    }

    /// Returns which list of its pool the block is in.
    #[inline(always)]
    pub fn listed(&self) -> Listed {
        self.listed
    }

    /// Stores which list of its pool the block is in, for who has that pool's lock, or takes the block out of the pool.
    pub fn set_listed(&mut self, listed: Listed) {
        self.listed = listed;
    }

    /// Returns whether free pages may have frames cached in their entries.
    #[inline(always)]
    pub fn has_frames(&self) -> bool {
        self.has_frames
    }

    /// Returns whether the block waits for a purge, or is in the hands of one.
    pub fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// Makes live pages dirty that were just unmapped; `owner` tells whose frames they map. The caller sees to it that a purge
    /// comes to the block.
    #[inline(always)]
    pub fn make_dirty(&mut self, first: usize, count: usize, owner: Owner) {
        if count == BLOCK_PAGES {
            self.unflushed = Bitmap::FULL;
        } else {
            self.unflushed.set(first, count);
        }
        self.unflushed_count += count as u16;
        if owner == Owner::Area {
            self.has_frames = true;
        }
    }

    /// Notes that the block waits for a purge. Returns whether the caller has to put it into a list of blocks that do: it
    /// is in none.
    #[must_use]
    #[inline(always)]
    pub fn enlist(&mut self) -> bool {
        !mem::replace(&mut self.lazy, true)
    }

    /// Makes pages [dirty](Self::make_dirty) that were cut off an area that owns its frames. The guard page before them took
    /// the entry of a page that was mapped, and that is flushed with them.
    pub fn cut(&mut self, first: usize, count: usize) {
        self.cut = true;
        self.last_cut = (first as u16, count as u16);
        self.make_dirty(first, count, Owner::Area);
    }

    /// Makes pages live again that were cut off an area, if just these were cut off last in the block, and since then no flush
    /// has begun, nor was the page before them given back. Returns whether they are.
    pub fn take_cut(&mut self, first: usize, count: usize) -> bool {
        let is_last = self.last_cut == (first as u16, count as u16);
        if is_last {
            self.last_cut = NO_CUT;
            self.unflushed.clear(first, count);
            self.unflushed_count -= count as u16;
        }
        is_last
    }

    /// Makes pages live of which none is, whether or not they wait for a flush, and returns how many did. `None` means that
    /// one of them is live already.
    pub fn revive(&mut self, first: usize, count: usize) -> Option<usize> {
        if !View(|index| self.open.word(index) | self.unflushed.word(index)).all(first, count) {
            return None;
        }
        self.last_cut = NO_CUT;
        let mut waited = 0;
        for page in first..first + count {
            let (index, bit) = (page / 64, 1 << (page % 64));
            waited += usize::from(self.unflushed.word(index) & bit != 0);
            self.open.set_word(index, self.open.word(index) & !bit);
            self.unflushed.set_word(index, self.unflushed.word(index) & !bit);
        }
        self.unflushed_count -= waited as u16;
        self.free -= (count - waited) as u16;
        Some(waited)
    }

    /// Returns whether all of these pages are live.
    pub fn are_live(&self, first: usize, count: usize) -> bool {
        View(|index| !(self.open.word(index) | self.unflushed.word(index))).all(first, count)
    }

    /// Makes dirty pages flushing, and returns how many pages are now. All were unmapped before `stamp` was taken.
    pub fn begin_flush(&mut self, stamp: Stamp) -> usize {
        if self.stale() == BLOCK_PAGES {
            self.open = Bitmap::FULL;
        } else {
            for index in 0..WORDS {
                self.open.set_word(index, self.open.word(index) | self.unflushed.word(index));
            }
        }
        self.last_cut = NO_CUT;
        self.flushing_since = stamp;
        self.unflushed_count.into()
    }

    /// [Ends the flush](Self::end_flush), for a purge that has the block. Returns how many pages it freed, and whether the
    /// purge has to put the block into a list again, because other pages wait.
    #[must_use]
    pub fn end_purge(&mut self, flushed: impl Fn(Stamp) -> bool) -> (usize, bool) {
        let freed = self.end_flush(flushed);
        self.lazy = self.unflushed_count > 0;
        (freed, self.lazy)
    }

    /// Makes the pages free that [`begin_flush`](Self::begin_flush) made flushing, if `flushed` returns true for its stamp.
    /// Returns how many there were.
    pub fn end_flush(&mut self, flushed: impl Fn(Stamp) -> bool) -> usize {
        if self.flushing_since == Stamp::NEVER || !flushed(self.flushing_since) {
            return 0;
        }
        self.flushing_since = Stamp::NEVER;
        let mut dirty = 0;
        if self.stale() == BLOCK_PAGES && self.open == Bitmap::FULL {
            self.unflushed = Bitmap::EMPTY;
        } else {
            for index in 0..WORDS {
                let word = self.unflushed.word(index) & !self.open.word(index);
                self.unflushed.set_word(index, word);
                // Usually nothing was freed meanwhile, and counting bits is slow.
                if word != 0 {
                    dirty += word.count_ones() as u16;
                }
            }
        }
        let pages = self.unflushed_count - dirty;
        self.free += pages;
        self.unflushed_count = dirty;
        self.cut &= dirty != 0;
        self.lowest = 0;
        pages.into()
    }

    /// Notes that the block was just unmapped as a whole: no page is flushing any more on its own.
    pub fn retire_all(&mut self) {
        self.flushing_since = Stamp::NEVER;
    }

    /// Returns a stamp that was taken after the pages that are flushing were unmapped.
    pub fn flushing_since(&self) -> Stamp {
        self.flushing_since
    }

    /// Returns how many pages are dirty or flushing.
    pub fn stale(&self) -> usize {
        self.unflushed_count.into()
    }

    /// Returns the runs of pages, at or above page `from`, that are dirty or flushing.
    pub fn stale_runs(&self, from: usize) -> impl Iterator<Item = (usize, usize)> {
        View(|index| self.unflushed.word(index)).runs(from)
    }

    /// Returns the runs of pages that a purge has to flush.
    pub fn runs_to_flush(&self) -> impl Iterator<Item = (usize, usize)> {
        let cut = usize::from(self.cut);
        self.stale_runs(0).map(move |(first, end)| (first.saturating_sub(cut), end))
    }

    /// Returns how many pages are free.
    pub fn free(&self) -> usize {
        self.free.into()
    }

    /// Returns the runs of free pages, from the lowest on, as start and end.
    pub fn free_runs(&self) -> impl Iterator<Item = (usize, usize)> {
        self.free_view().runs(0)
    }

    /// Returns whether a page is free.
    #[inline]
    pub fn is_free(&self, page: usize) -> bool {
        (self.free_view().0)(page / 64) >> (page % 64) & 1 != 0
    }

    /// Returns whether a page is flushing.
    pub fn is_flushing(&self, page: usize) -> bool {
        (self.open.word(page / 64) & self.unflushed.word(page / 64)) >> (page % 64) & 1 != 0
    }

    /// Returns how many pages the longest free run has.
    pub fn longest_run(&self) -> usize {
        match self.free() {
            all_or_none @ (0 | BLOCK_PAGES) => all_or_none,
            _ => self.free_view().longest_run(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
