//! Which blocks of the range are free: first fit of a run of blocks, at the lowest address.
//!
//! One bit a block, set while it is used, in maps of 64 GiB each. A map that is missing means that
//! all its blocks are free, so an instance of 32 TiB costs one frame for each 64 GiB it has used.
//!
//! The search starts at a cached block below which all are used (the idea of the 2010 thread
//! "cache last free vmap_area to avoid restarting beginning"); what piles up there is not walked
//! again. The start is only ever raised past blocks that are used and lowered to blocks that are
//! freed, so placement is exactly that of a plain first fit.
//!
//! Lock: the arena's own, the first in the order (arena, pool, block). It is taken once for each run of
//! blocks, and no memory is allocated under it.

use crate::platform::{Frame, Platform};
use core::{ops::Range, ptr::NonNull};
use spin::Mutex;

const WORDS: usize = 512;
/// Blocks that one map tells of.
const MAP_BLOCKS: usize = WORDS * 64;
const MAPS: usize = 512;

/// The most blocks an arena can hold: 32 TiB.
pub(crate) const MAX_BLOCKS: usize = MAP_BLOCKS * MAPS;

/// Why the arena gave no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArenaError {
    NoRun,
    NoFrame,
}

type Words = [u64; WORDS];

/// A map: one frame, owned by the arena.
struct Map {
    frame: Frame,
    words: NonNull<Words>,
}

// SAFETY: the words are reached only through the arena's lock.
unsafe impl Send for Map {}

impl Map {
    fn take<P: Platform>(platform: &P) -> Option<Self> {
        let frame = platform.take_table()?;
        Some(Self { frame, words: platform.direct_map(frame).cast() })
    }

    fn words(&self) -> &Words {
        // SAFETY: promises 1 to 3 of `Platform`: the frame is ours, mapped and initialised;
        // `&mut self` for writers keeps them out meanwhile.
        unsafe { self.words.as_ref() }
    }

    fn words_mut(&mut self) -> &mut Words {
        // SAFETY: as in `words`; `&mut self` makes it the only reference.
        unsafe { self.words.as_mut() }
    }
}

struct State {
    maps: [Option<Map>; MAPS],
    blocks: usize,
    /// All blocks below are used.
    search_start: usize,
    free: usize,
}

/// See the module's documentation.
pub(crate) struct Arena {
    state: Mutex<State>,
}

/// Free address space, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArenaStats {
    pub free: usize,
    pub longest_run: usize,
    pub maps: usize,
}

impl Arena {
    /// An arena of `blocks` free blocks, at most [`MAX_BLOCKS`].
    pub fn new(blocks: usize) -> Self {
        assert!(blocks <= MAX_BLOCKS);
        let state = State { maps: [const { None }; MAPS], blocks, search_start: 0, free: blocks };
        Self { state: Mutex::new(state) }
    }

    /// Takes the lowest run of `count` free blocks inside `within` whose first is, together with
    /// `offset`, a multiple of `align`. Returns the number of its first block.
    pub fn allocate<P: Platform>(
        &self,
        platform: &P,
        count: usize,
        align: usize,
        offset: usize,
        within: Range<usize>,
    ) -> Result<usize, ArenaError> {
        debug_assert!(count > 0 && align.is_power_of_two());
        // Nothing is allocated under the lock: a map that is missing is taken outside of it, and
        // the search repeated.
        let mut spare = None;
        let result = loop {
            let mut state = self.state.lock();
            let within = within.start..within.end.min(state.blocks);
            let Some(first) = state.find(count, align, offset, &within) else {
                break Err(ArenaError::NoRun);
            };
            match state.missing_map(first, count) {
                None => {
                    state.mark_used(first, count);
                    break Ok(first);
                }
                Some(missing) => {
                    if let Some(map) = spare.take() {
                        state.maps[missing] = Some(map);
                        continue;
                    }
                    drop(state);
                    spare = Map::take(platform);
                    if spare.is_none() {
                        break Err(ArenaError::NoFrame);
                    }
                }
            }
        };
        if let Some(map) = spare {
            platform.give_table(map.frame);
        }
        result
    }

    /// Gives back `count` blocks from `first`, all of them used.
    pub fn free(&self, first: usize, count: usize) {
        self.state.lock().mark_free(first, count);
    }

    /// Counts what is free.
    pub fn stats(&self) -> ArenaStats {
        let state = self.state.lock();
        let (mut longest_run, mut from) = (0, 0);
        while let Some(start) = state.next(from, state.blocks, false) {
            let end = state.next(start, state.blocks, true).unwrap_or(state.blocks);
            longest_run = longest_run.max(end - start);
            from = end;
        }
        ArenaStats { free: state.free, longest_run, maps: state.maps.iter().flatten().count() }
    }

    /// The first used block at or above `from`.
    pub fn next_used(&self, from: usize) -> Option<usize> {
        let state = self.state.lock();
        state.next(from, state.blocks, true)
    }

    /// Gives the maps back. All blocks must be free.
    pub fn release<P: Platform>(&mut self, platform: &P) {
        let state = self.state.get_mut();
        assert_eq!(state.free, state.blocks, "blocks are still in use");
        for map in &mut state.maps {
            if let Some(map) = map.take() {
                platform.give_table(map.frame);
            }
        }
    }
}

impl State {
    fn find(&mut self, count: usize, align: usize, offset: usize, within: &Range<usize>) -> Option<usize> {
        let aligned = |block: usize| (block + offset).next_multiple_of(align) - offset;
        self.search_start = self.next(self.search_start, self.blocks, false)?;
        let mut from = within.start.max(self.search_start);
        loop {
            let free = self.next(from, within.end, false)?;
            let start = aligned(free);
            let end = start.checked_add(count).filter(|&end| end <= within.end)?;
            match self.next(start, end, true) {
                None => return Some(start),
                Some(used) => from = used,
            }
        }
    }

    /// The first block in `from..end` that is used, or that is free.
    fn next(&self, from: usize, end: usize, used: bool) -> Option<usize> {
        let mut block = from;
        while block < end {
            let Some(map) = &self.maps[block / MAP_BLOCKS] else {
                if !used {
                    return Some(block);
                }
                block = (block / MAP_BLOCKS + 1) * MAP_BLOCKS;
                continue;
            };
            let word = map.words()[block / 64 % WORDS];
            let wanted = (if used { word } else { !word }) >> (block % 64);
            if wanted != 0 {
                block += wanted.trailing_zeros() as usize;
                return (block < end).then_some(block);
            }
            block = (block / 64 + 1) * 64;
        }
        None
    }

    fn missing_map(&self, first: usize, count: usize) -> Option<usize> {
        (first / MAP_BLOCKS..=(first + count - 1) / MAP_BLOCKS).find(|&map| self.maps[map].is_none())
    }

    fn mark_used(&mut self, first: usize, count: usize) {
        self.for_each_word(first, count, |word, mask| {
            assert_eq!(*word & mask, 0, "the arena gave a block twice");
            *word |= mask;
        });
        self.free -= count;
    }

    fn mark_free(&mut self, first: usize, count: usize) {
        self.for_each_word(first, count, |word, mask| {
            assert_eq!(*word & mask, mask, "the arena got a block back twice");
            *word &= !mask;
        });
        self.free += count;
        self.search_start = self.search_start.min(first);
    }

    /// Calls `change` with each word of the run and the run's bits in it. Its maps must exist.
    fn for_each_word(&mut self, first: usize, count: usize, change: impl Fn(&mut u64, u64)) {
        let (mut block, end) = (first, first + count);
        while block < end {
            let in_word = (end - block).min(64 - block % 64);
            let mask = (u64::MAX >> (64 - in_word)) << (block % 64);
            let Some(map) = &mut self.maps[block / MAP_BLOCKS] else {
                unreachable!("used blocks have a map");
            };
            change(&mut map.words_mut()[block / 64 % WORDS], mask);
            block += in_word;
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::sim::Machine;
    use std::{vec, vec::Vec};

    const ALL: Range<usize> = 0..MAX_BLOCKS;

    #[test]
    fn runs_are_packed_from_the_lowest_block() {
        let machine = Machine::new(1, 8);
        let mut arena = Arena::new(100);
        assert_eq!(arena.allocate(&&machine, 3, 1, 0, ALL), Ok(0));
        assert_eq!(arena.allocate(&&machine, 1, 1, 0, ALL), Ok(3));
        assert_eq!(arena.allocate(&&machine, 4, 4, 0, ALL), Ok(4));
        arena.free(0, 3);
        assert_eq!(arena.allocate(&&machine, 4, 1, 0, ALL), Ok(8));
        assert_eq!(arena.allocate(&&machine, 2, 2, 1, ALL), Ok(1), "aligned together with the offset");
        assert_eq!(arena.allocate(&&machine, 1, 1, 0, ALL), Ok(0));
        arena.free(0, 1);
        arena.free(1, 2);
        arena.free(3, 1);
        arena.free(4, 8);
        arena.release(&&machine);
        machine.assert_all_frames_back();
    }

    #[test]
    fn an_exact_fit_fits_and_one_more_does_not() {
        let machine = Machine::new(1, 8);
        let arena = Arena::new(70);
        assert_eq!(arena.allocate(&&machine, 71, 1, 0, ALL), Err(ArenaError::NoRun));
        assert_eq!(arena.allocate(&&machine, 70, 1, 0, ALL), Ok(0));
        assert_eq!(arena.allocate(&&machine, 1, 1, 0, ALL), Err(ArenaError::NoRun));
        arena.free(69, 1);
        assert_eq!(arena.stats(), ArenaStats { free: 1, longest_run: 1, maps: 1 });
        assert_eq!(arena.allocate(&&machine, 1, 1, 0, 0..69), Err(ArenaError::NoRun), "outside the limits");
        assert_eq!(arena.allocate(&&machine, 1, 1, 0, ALL), Ok(69));
    }

    #[test]
    fn a_run_may_cross_maps_and_want_of_a_frame_changes_nothing() {
        let machine = Machine::new(1, 8);
        let arena = Arena::new(3 * MAP_BLOCKS);
        machine.fail_after(1);
        let result = arena.allocate(&&machine, MAP_BLOCKS + 1, 1, 0, ALL);
        assert_eq!(result, Err(ArenaError::NoFrame));
        machine.never_fail();
        assert_eq!(arena.stats().free, 3 * MAP_BLOCKS);
        assert_eq!(arena.allocate(&&machine, MAP_BLOCKS + 1, 1, 0, ALL), Ok(0));
        assert_eq!(arena.allocate(&&machine, 2 * MAP_BLOCKS - 1, 1, 0, ALL), Ok(MAP_BLOCKS + 1));
        assert_eq!(arena.stats().free, 0);
    }

    #[test]
    #[should_panic(expected = "got a block back twice")]
    fn a_double_free_is_a_broken_invariant() {
        let machine = Machine::new(1, 8);
        let arena = Arena::new(10);
        assert_eq!(arena.allocate(&&machine, 2, 1, 0, ALL), Ok(0));
        arena.free(0, 2);
        arena.free(1, 1);
    }

    /// Every placement equals that of a plain linear first fit that caches nothing.
    #[test]
    fn placement_equals_a_plain_first_fit() {
        const BLOCKS: usize = 700;
        let machine = Machine::new(1, 8);
        let arena = Arena::new(BLOCKS);
        let mut used = vec![false; BLOCKS];
        let mut live: Vec<(usize, usize)> = Vec::new();
        let mut random = crate::sim::Random::new(7);
        for _ in 0..200_000 {
            if random.below(100) < 48 && !live.is_empty() {
                let (first, count) = live.swap_remove(random.below(live.len()));
                arena.free(first, count);
                used[first..first + count].fill(false);
                continue;
            }
            let longest = random.pick(&[2, 8, 90]);
            let count = 1 + random.below(longest);
            let align = 1 << random.below(6);
            let offset = random.below(align);
            let (start, length) = (random.below(BLOCKS), random.below(200));
            let start = random.pick(&[0, start]);
            let end = start + random.pick(&[BLOCKS, length]);
            let expected = (start..end.min(BLOCKS)).find(|&first| {
                (first + offset).is_multiple_of(align)
                    && first + count <= end.min(BLOCKS)
                    && !used[first..first + count].contains(&true)
            });
            let got = arena.allocate(&&machine, count, align, offset, start..end).ok();
            assert_eq!(got, expected, "{count} blocks, align {align}+{offset}, in {start}..{end}");
            if let Some(first) = got {
                used[first..first + count].fill(true);
                live.push((first, count));
            }
        }
        assert_eq!(arena.stats().free, used.iter().filter(|&&used| !used).count());
    }
}
