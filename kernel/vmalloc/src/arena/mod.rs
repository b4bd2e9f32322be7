//! Which blocks of the range are free: first fit of a run of blocks, at the lowest address.
//!
//! ```text
//! search start ──▶ first block that may be free
//! top              a tree of maxima over the maps: where a run of n blocks may end
//!   map            32 GiB of blocks in one frame: a tree of free runs over the ...
//!     leaf         ... two words, a bit a block: set while it is used
//! ```
//!
//! A map that is missing means that all its blocks are free, so an instance of 32 TiB costs one
//! frame for each 32 GiB in which it uses something. Runs may cross maps.
//!
//! The search starts at a cached block below which all are used (the idea of the 2010 thread
//! "cache last free vmap_area to avoid restarting beginning"); what piles up there is not walked
//! again. The start is only ever raised past blocks that are used and lowered to blocks that are
//! freed, so placement is exactly that of a plain first fit. What lies above the start and is too
//! short is skipped by the trees: a search looks at 40 nodes at most, however many runs there
//! are. Two requests may look at more: one aligned above a block looks at every run that is long
//! enough but has no aligned place, and one of more than 32 GiB at every map.
//!
//! A block that is taken or freed changes its leaf alone. The tree above is made right when a
//! search needs it or when another leaf changes, so that many changes of a leaf cost one path.
//!
//! Lock: the arena's own, the first in the order (arena, pool, block). It is taken once for each run of
//! blocks, for a run that crosses maps once more for each, and no memory is allocated under it.

mod congruent;
mod map;
mod search;
mod state;
#[cfg(test)]
mod tests;
mod top;

use crate::{
    CpuPin, LockClass, Platform, SearchPolicy,
    lock::{Lock, Locked},
};
pub(crate) use congruent::Part;
use core::{iter, ops::Range};
use map::{LEAVES, MAP_BLOCKS, Map};
use state::State;

const MAPS: usize = 1024;

/// The most blocks an arena can hold: 32 TiB.
pub(crate) const MAX_BLOCKS: usize = MAP_BLOCKS * MAPS;

/// Why the arena gave no run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArenaError {
    NoRun,
    NoFrame,
}

/// See the module's documentation.
pub(crate) struct Arena {
    state: Lock<State>,
}

impl Locked for State {
    const CLASS: LockClass = LockClass::Arena;
}

/// Free address space, in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArenaStats {
    pub free: usize,
    pub longest_run: usize,
    pub maps: usize,
    /// Words, nodes and maps that searches have looked at so far.
    pub steps: u64,
}

impl Arena {
    /// An arena of `blocks` free blocks, at most [`MAX_BLOCKS`].
    pub fn new(blocks: usize, policy: SearchPolicy) -> Self {
        assert!(blocks <= MAX_BLOCKS);
        Self { state: Lock::new(State::new(blocks, policy)) }
    }

    /// Takes the lowest run of `count` free blocks inside `within` whose first is, together with
    /// `offset`, a multiple of `align`, a power of two. Returns the number of its first block.
    pub fn allocate<P: Platform>(
        &self,
        platform: &P,
        count: usize,
        align: usize,
        offset: usize,
        within: Range<usize>,
    ) -> Result<usize, ArenaError> {
        debug_assert!(align.is_power_of_two());
        if let Some(first) = self.state.lock(&platform.pin()).take_here(count, align, &within) {
            return Ok(first);
        }
        self.take(platform, count, |state| state.find(count, align, offset, &within))
    }

    /// Takes the `count` blocks from `first`, if the arena has them and all are free.
    pub fn allocate_at<P: Platform>(
        &self,
        platform: &P,
        first: usize,
        count: usize,
    ) -> Result<(), ArenaError> {
        self.take(platform, count, |state| state.is_free(first, count).then_some(first)).map(|_| ())
    }

    /// Takes the `count` blocks that `find` finds.
    #[inline(never)]
    fn take<P: Platform>(
        &self,
        platform: &P,
        count: usize,
        find: impl Fn(&mut State) -> Option<usize>,
    ) -> Result<usize, ArenaError> {
        // Nothing is allocated under the lock: a map that is missing is taken outside of it, and
        // the search repeated. Each turn ends it, or finds a map that was missing, or that others were faster: they
        // have what it found.
        let mut spare: Option<Map> = None;
        let result = loop {
            let pin = platform.pin();
            let mut state = self.state.lock(&pin);
            let Some(first) = find(&mut state) else {
                break Err(ArenaError::NoRun);
            };
            let Some(missing) = state.missing_map(first, count) else {
                if first % MAP_BLOCKS + count <= MAP_BLOCKS {
                    state.mark_used(first, count);
                    break Ok(first);
                }
                drop(state);
                drop(pin);
                if self.claim(platform, iter::once((first, count))) {
                    break Ok(first);
                }
                continue;
            };
            if let Some(map) = spare.take() {
                state.install(missing, map);
                continue;
            }
            drop(state);
            spare = Map::take(platform);
            if spare.is_none() {
                break Err(ArenaError::NoFrame);
            }
        };
        if let Some(map) = spare {
            platform.give_table(map.into_frame(platform));
        }
        result
    }

    /// Takes runs of blocks that were just found free, and whose maps existed, one map at a time: the lock is
    /// not held for longer. `false`: others were faster to take some of it, or a map, and nothing is taken.
    fn claim<P: Platform>(&self, platform: &P, runs: impl Iterator<Item = (usize, usize)> + Clone) -> bool {
        let all = runs.flat_map(|(first, count)| pieces(first, count));
        for (done, (first, count)) in all.clone().enumerate() {
            let pin = platform.pin();
            let mut state = self.state.lock(&pin);
            if state.missing_map(first, count).is_some() || !state.is_free(first, count) {
                drop(state);
                drop(pin);
                all.take(done).for_each(|(first, count)| self.free(&platform.pin(), first, count));
                return false;
            }
            state.mark_used(first, count);
        }
        true
    }

    /// Gives back `count` blocks from `first`, all of them used.
    pub fn free(&self, pin: &impl CpuPin, first: usize, count: usize) {
        self.state.lock(pin).mark_free(first, count);
    }

    /// The same of any number, one map at a time.
    pub fn free_run<P: Platform>(&self, platform: &P, first: usize, count: usize) {
        pieces(first, count).for_each(|(first, count)| self.free(&platform.pin(), first, count));
    }

    /// Counts what is free.
    pub fn stats(&self, pin: &impl CpuPin) -> ArenaStats {
        self.state.lock(pin).stats()
    }

    /// The first used block at or above `from`.
    pub fn next_used(&self, pin: &impl CpuPin, from: usize) -> Option<usize> {
        self.state.lock(pin).next_used(from)
    }

    /// Gives back the maps all of whose blocks are free, one at a time: how many.
    pub fn release_free_maps<P: Platform>(&self, platform: &P) -> usize {
        let maps = (0..MAPS).filter_map(|index| self.state.lock(&platform.pin()).take_free_map(index));
        maps.map(|map| platform.give_table(map.into_frame(platform))).count()
    }

    /// Gives the maps back. All blocks must be free.
    pub fn release<P: Platform>(&mut self, platform: &P) {
        self.state.get_mut().take_maps(|map| platform.give_table(map.into_frame(platform)));
    }
}

/// A run of blocks, cut where maps end: first blocks and counts.
fn pieces(first: usize, count: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let end = first + count;
    let next = move |from: usize| ((from + 1).next_multiple_of(MAP_BLOCKS)).min(end);
    iter::successors(Some(first), move |&from| Some(next(from)).filter(|&next| next < end))
        .map(move |from| (from, next(from) - from))
}
