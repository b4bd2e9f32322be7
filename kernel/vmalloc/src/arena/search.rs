//! Finding the lowest run of free blocks, or several at once, at set distances from one base.
//!
//! The lowest base is found run by run, in turn: where one does not fit, the next free run that is long enough for it tells
//! the lowest base that remains, and all must fit again. No base is passed over at which all fit.

use super::{
    map::{LEAF_BLOCKS, LEAVES, MAP_BLOCKS, WORD_BLOCKS, lowest_run},
    state::State,
};
use crate::{SearchPolicy, bitmap::bits};
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
pub(super) struct Wanted<'a> {
    /// No two overlap.
    pub parts: &'a [Part],
    pub align: usize,
    pub offset: usize,
    pub within: Range<usize>,
}

/// What came of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// This base will do.
    Found(usize),
    /// The search is not over, and goes on from this base after others had the lock.
    Onward(usize),
    Nothing,
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

    /// Finds the lowest base at or above `from` that is wanted, without taking the blocks.
    pub fn find(&mut self, wanted: &Wanted<'_>, from: usize) -> Search {
        let &Wanted { parts, align, offset, ref within } = wanted;
        let span = parts.iter().map(|part| part.offset + part.count).max().unwrap_or(0);
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
        let (mut fitting, mut steps) = (0, 0);
        for part in parts.iter().cycle() {
            if base > last {
                break;
            }
            if fitting == parts.len() {
                return Search::Found(base);
            }
            steps += 1;
            let Some(run) = self.next_run(base + part.offset, part.count) else { break };
            let lowest = aligned(run - part.offset, align, offset);
            if lowest > base {
                (base, fitting) = (lowest, 0);
                if steps >= AT_ONCE {
                    return Search::Onward(base);
                }
            }
            // The run begins there, unless alignment leaves out its first blocks.
            fitting += usize::from(base + part.offset == run);
        }
        Search::Nothing
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

    /// Finds it by the words, hole by hole.
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

    /// Finds the first block in `from..end` that is used, or with `used` false the first that is free, by the words alone
    /// where a map has used blocks.
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
