//! Finding the lowest run of free blocks.

use super::{
    map::{LEAF_BLOCKS, LEAVES, MAP_BLOCKS, WORD_BLOCKS, lowest_run},
    state::State,
};
use crate::{SearchPolicy, bitmap::bits};
use core::ops::Range;

/// One of the runs that are to be found at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Blocks from the base to its first one.
    pub offset: usize,
    /// Number of blocks.
    pub count: usize,
}

/// What came of a search.
pub(super) enum Search {
    /// This base will do.
    Found(usize),
    /// The search is not over, and goes on after others had the lock.
    Onward,
    Nothing,
}

impl From<Option<usize>> for Search {
    #[inline]
    fn from(found: Option<usize>) -> Self {
        found.map_or(Self::Nothing, Self::Found)
    }
}

impl State {
    /// Finds and takes a run in the word at the cached start, if that is in the unsettled leaf: then no tree needs an
    /// update. Most searches end here; `None` says only that this one does not.
    #[inline]
    pub fn take_at_start(&mut self, count: usize, align: usize, within: &Range<usize>) -> Option<usize> {
        let from = within.start.max(self.search_start);
        let leaf = from / LEAF_BLOCKS;
        if leaf != self.unsettled || align != 1 || self.policy != SearchPolicy::Cached {
            return None;
        }
        let map = self.maps.get_mut(from / MAP_BLOCKS)?.as_mut()?;
        let word = map.word_mut(from / WORD_BLOCKS);
        let bit = lowest_run(!*word & (u64::MAX << (from % WORD_BLOCKS)), count)?;
        let first = from / WORD_BLOCKS * WORD_BLOCKS + bit;
        // Above the arena's end nothing is free.
        if first + count > within.end {
            return None;
        }
        *word |= bits(bit, count);
        self.free -= count;
        self.steps += 1;
        if from == self.search_start && (count == 1 || first == from) {
            self.search_start = first + count;
        }
        Some(first)
    }

    /// Finds the run that `Arena::allocate` is asked for, without taking it.
    pub fn find(&mut self, count: usize, align: usize, offset: usize, range: &Range<usize>) -> Option<usize> {
        // No block, or more than there are.
        if count.wrapping_sub(1) >= self.blocks {
            return None;
        }
        let end = range.end.min(self.blocks);
        let walks = self.policy == SearchPolicy::FromStart;
        let mut from = if walks { range.start } else { range.start.max(self.search_start) };
        // `from` is behind what was examined.
        while from < end {
            let start = if walks { self.walk_to(from, end, false) } else { self.next_run(from, count) }?;
            if count == 1 && from == self.search_start {
                self.search_start = start;
            }
            let first = aligned(start, align, offset);
            let first_end = first + count;
            if first_end > end {
                return None;
            }
            let used = match walks {
                true => self.walk_to(first, first_end, true),
                false if first == start => None,
                false => self.first_used(first, first_end),
            };
            let Some(used) = used else { return Some(first) };
            from = used;
        }
        None
    }

    /// Finds the lowest run of at least `count` free blocks at or above `from`, a block of the arena.
    pub(super) fn next_run(&mut self, from: usize, count: usize) -> Option<usize> {
        self.steps += 1;
        let index = from / MAP_BLOCKS;
        let below = match &self.maps[index] {
            Some(map) => {
                let free = !map.leaf(from / LEAF_BLOCKS) & (u128::MAX << (from % LEAF_BLOCKS));
                if let Some(bit) = lowest_run(free, count) {
                    return Some(from / LEAF_BLOCKS * LEAF_BLOCKS + bit);
                }
                free.leading_ones() as usize
            }
            None => {
                let free = index * MAP_BLOCKS + self.blocks_of(index) - from;
                if free >= count {
                    return Some(from);
                }
                free
            }
        };
        self.next_run_above(from / LEAF_BLOCKS, below, count)
    }

    /// Finds the lowest run of at least `count` free blocks above leaf `leaf`; the last `below` blocks up to there are
    /// free, and count.
    fn next_run_above(&mut self, leaf: usize, mut below: usize, count: usize) -> Option<usize> {
        self.settle();
        let index = leaf / LEAVES;
        if let Some(map) = &self.maps[index] {
            match map.find_above(leaf % LEAVES, below, count, &mut self.steps) {
                Ok(block) => return Some(index * MAP_BLOCKS + block),
                Err(rest) => below = rest,
            }
        }
        let mut next = index + 1;
        while next < self.map_count() {
            self.steps += 1;
            let root = self.root(next);
            if below + root.prefix() >= count {
                return Some(next * MAP_BLOCKS - below);
            }
            if root.longest() >= count
                && let Some(map) = &self.maps[next]
            {
                return Some(next * MAP_BLOCKS + map.find(count, &mut self.steps));
            }
            next += 1;
            if root.prefix() == MAP_BLOCKS {
                below += MAP_BLOCKS;
                continue;
            }
            below = root.suffix();
            // What is skipped ends no such run: not inside, and not at its start.
            let found = self.top.next(next, count.min(MAP_BLOCKS) as u16, &mut self.steps)?;
            if found > next {
                below = self.root(found - 1).suffix();
            }
            next = found;
        }
        None
    }

    /// Finds the first used block in `from..end`, blocks of the arena.
    fn first_used(&mut self, from: usize, end: usize) -> Option<usize> {
        if from >= end {
            return None;
        }
        self.steps += 1;
        let inside = |block: usize| Some(block).filter(|&block| block < end);
        let (leaf, index) = (from / LEAF_BLOCKS, from / MAP_BLOCKS);
        if let Some(map) = &self.maps[index] {
            let used = map.leaf(leaf) & (u128::MAX << (from % LEAF_BLOCKS));
            if used != 0 {
                return inside(leaf * LEAF_BLOCKS + used.trailing_zeros() as usize);
            }
            if end <= (leaf + 1) * LEAF_BLOCKS {
                return None;
            }
        }
        self.settle();
        if let Some(map) = &self.maps[index]
            && let Some(block) = map.used_above(leaf % LEAVES, &mut self.steps)
        {
            return inside(index * MAP_BLOCKS + block);
        }
        for next in index + 1..end.div_ceil(MAP_BLOCKS) {
            self.steps += 1;
            let free = self.root(next).prefix();
            if free < MAP_BLOCKS {
                return inside(next * MAP_BLOCKS + free);
            }
        }
        None
    }

    /// Finds the first block in `from..end` that is used, or with `used` false the first that is free, by the words alone:
    /// for [`SearchPolicy::FromStart`], which goes hole by hole.
    #[cold]
    fn walk_to(&mut self, from: usize, end: usize, used: bool) -> Option<usize> {
        let mut block = from;
        while block < end {
            self.steps += 1;
            let Some(map) = &self.maps[block / MAP_BLOCKS] else {
                if !used {
                    return Some(block);
                }
                block = (block / MAP_BLOCKS + 1) * MAP_BLOCKS;
                continue;
            };
            let word = map.word(block / WORD_BLOCKS);
            let wanted = (if used { word } else { !word }) >> (block % WORD_BLOCKS);
            if wanted != 0 {
                block += wanted.trailing_zeros() as usize;
                return (block < end).then_some(block);
            }
            block = (block / WORD_BLOCKS + 1) * WORD_BLOCKS;
        }
        None
    }

    /// Returns whether the arena has these blocks and all are free.
    pub fn is_free(&mut self, first: usize, count: usize) -> bool {
        let end = first.checked_add(count).filter(|&end| end <= self.blocks);
        count > 0 && end.is_some_and(|end| self.first_used(first, end).is_none())
    }

    /// Finds the first used block at or above `from`.
    pub fn next_used(&mut self, from: usize) -> Option<usize> {
        self.first_used(from, self.blocks)
    }
}

/// Returns the first block at or above `block` that is, together with `offset`, a multiple of `align`.
///
/// Neither this overflows nor the end of a run from there: a block's number and a run that an arena may have
/// are at most 2^24, the padding is below 2^63.
#[inline]
pub(super) fn aligned(block: usize, align: usize, offset: usize) -> usize {
    // The sum may wrap, as multiples of a power of two do.
    block + (block.wrapping_add(offset).wrapping_neg() & (align - 1))
}
