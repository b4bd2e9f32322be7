//! Finding the lowest run of free blocks, or several at once, at set distances from one base.
//!
//! The lowest base is found run by run: where one does not fit, the next free run that is long enough for it
//! gives the lowest base that remains, and all must fit again. No base at which all fit is passed over.

use super::{
    map::{LEAF_BLOCKS, LEAVES, MAP_BLOCKS, bits, lowest_run},
    state::State,
};
use crate::SearchPolicy;
use core::ops::Range;

/// Steps of a search under one hold of the lock, and as many more as it makes until the base moves.
const AT_ONCE: usize = 32;

/// One of the runs that are to be found at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Blocks from the base to its first one.
    pub offset: usize,
    /// Number of blocks.
    pub count: usize,
}

/// What is to be found: the lowest base at which all parts are free and inside `within`, and which is, together with
/// `offset`, a multiple of `align`, a power of two.
pub(crate) struct Wanted<'a> {
    /// The lowest first; none is empty, and no two overlap.
    pub parts: &'a [Part],
    pub align: usize,
    pub offset: usize,
    pub within: Range<usize>,
}

/// What came of a search.
pub(super) enum Search {
    /// This base will do.
    Found(usize),
    /// The search is not over, and goes on from this base after others had the lock.
    Onward(usize),
    Nothing,
}

impl State {
    /// Finds and takes a run in the leaf at the cached start, if that is the unsettled one: then no tree needs an
    /// update. Most searches end here; `None` says only that this one does not.
    #[inline]
    pub fn take_at_start(&mut self, count: usize, align: usize, within: &Range<usize>) -> Option<usize> {
        let from = within.start.max(self.search_start);
        let (leaf, bit) = (from / LEAF_BLOCKS, from % LEAF_BLOCKS);
        if leaf != self.unsettled || align != 1 || self.policy != SearchPolicy::Cached {
            return None;
        }
        let used = self.maps.get_mut(from / MAP_BLOCKS)?.as_mut()?.leaf_mut(leaf);
        let bit = lowest_run(!*used & (u128::MAX << bit), count)?;
        let first = leaf * LEAF_BLOCKS + bit;
        // Above the arena's end nothing is free.
        if first + count > within.end {
            return None;
        }
        *used |= bits(bit, count);
        self.free -= count;
        self.steps += 1;
        if from == self.search_start && (count == 1 || first == from) {
            self.search_start = first + count;
        }
        Some(first)
    }

    /// Finds the lowest base at or above `from` that is wanted, without taking the blocks.
    pub fn find(&mut self, wanted: &Wanted<'_>, from: usize) -> Search {
        let &Wanted { parts, align, offset, ref within } = wanted;
        let span = parts.last().map_or(0, |part| part.offset + part.count);
        // The bases that remain are `base..=last`.
        let Some(last) = within.end.min(self.blocks).checked_sub(span) else { return Search::Nothing };
        let mut base = from.max(within.start);
        if self.policy == SearchPolicy::Cached {
            base = base.max(self.search_start.saturating_sub(parts[0].offset));
        }
        if span == 0 || base > last {
            return Search::Nothing;
        }
        base = aligned(base, align, offset);
        // The parts before `parts[fitting]` fit.
        let (mut fitting, mut steps) = (0, 0);
        while let Some(part) = parts.get(fitting) {
            if base > last {
                return Search::Nothing;
            }
            if steps >= AT_ONCE && fitting == 0 {
                return Search::Onward(base);
            }
            steps += 1;
            let Some(run) = self.next_run(base + part.offset, part.count) else { return Search::Nothing };
            let lowest = aligned(run - part.offset, align, offset);
            // What is first fits at the new base, unless alignment leaves out the first blocks of its run.
            let fits = lowest == base || fitting == 0 && lowest + part.offset == run;
            fitting = if fits { fitting + 1 } else { 0 };
            base = lowest;
        }
        if base > last { Search::Nothing } else { Search::Found(base) }
    }

    /// Finds the lowest run of at least `count` free blocks at or above `from`, a block of the arena.
    fn next_run(&mut self, from: usize, count: usize) -> Option<usize> {
        let run = match self.policy {
            SearchPolicy::Cached => self.descend(from, count),
            SearchPolicy::FromStart => self.walk(from, count),
        }?;
        if count == 1 && from == self.search_start {
            self.search_start = run;
        }
        Some(run)
    }

    /// Finds it by the trees.
    fn descend(&mut self, from: usize, count: usize) -> Option<usize> {
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
                return Some(next * MAP_BLOCKS + map.find_in(1, count, &mut self.steps));
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

    /// Finds it by the leaves, hole by hole.
    #[cold]
    fn walk(&mut self, mut from: usize, count: usize) -> Option<usize> {
        loop {
            let start = self.walk_to(from, self.blocks, false)?;
            let end = start + count;
            match self.walk_to(start, end, true) {
                Some(used) => from = used,
                None => return (end <= self.blocks).then_some(start),
            }
        }
    }

    /// Finds the first block in `from..end` that is used, or with `used` false the first that is free, by the leaves
    /// alone where a map has used blocks.
    fn walk_to(&mut self, from: usize, end: usize, used: bool) -> Option<usize> {
        self.settle();
        let mut block = from;
        while block < end.min(self.blocks) {
            self.steps += 1;
            let index = block / MAP_BLOCKS;
            let Some(map) = self.maps[index].as_ref().filter(|map| map.root() != self.free_root(index))
            else {
                if !used {
                    return Some(block);
                }
                block = (index + 1) * MAP_BLOCKS;
                continue;
            };
            let leaf = map.leaf(block / LEAF_BLOCKS);
            let wanted = (if used { leaf } else { !leaf }) >> (block % LEAF_BLOCKS);
            if wanted != 0 {
                block += wanted.trailing_zeros() as usize;
                return (block < end).then_some(block);
            }
            block = (block / LEAF_BLOCKS + 1) * LEAF_BLOCKS;
        }
        None
    }

    /// Returns whether these blocks of the arena are free.
    pub fn is_free(&mut self, first: usize, count: usize) -> bool {
        self.next_run(first, count) == Some(first)
    }

    /// Finds the first used block at or above `from`.
    pub fn next_used(&mut self, from: usize) -> Option<usize> {
        self.walk_to(from, self.blocks, true)
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
