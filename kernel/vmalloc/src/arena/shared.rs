//! The arena as CPUs share it: its state behind a lock, which is released to take a frame.

use super::{
    map::{MAP_BLOCKS, Map},
    search::{Part, Search, Wanted},
    state::{ArenaStats, MAX_BLOCKS, State, pieces},
};
use crate::{
    AllocError, CpuPin, LockClass, Platform, SearchPolicy,
    lock::{Lock, Locked},
};
use core::ops::Range;

/// Which blocks of a range are free.
pub(crate) struct Arena {
    pub(super) state: Lock<State>,
}

impl Locked for State {
    const CLASS: LockClass = LockClass::Arena;
}

impl Arena {
    /// Makes an arena of `blocks` free blocks, at most [`MAX_BLOCKS`]. `None` means that there were no frames.
    pub fn new<P: Platform>(platform: &P, blocks: usize, policy: SearchPolicy) -> Option<Self> {
        assert!(blocks <= MAX_BLOCKS);
        Some(Self { state: Lock::new(State::new(platform, blocks, policy)?) })
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
    ) -> Result<usize, AllocError> {
        debug_assert!(align.is_power_of_two());
        if let Some(first) = self.state.lock(&platform.pin()).take_at_start(count, align, &within) {
            return Ok(first);
        }
        self.take(platform, &Wanted { parts: &[Part { offset: 0, count }], align, offset, within })
    }

    /// Takes the `count` blocks from `first`, if the arena has them and all are free.
    pub fn allocate_at<P: Platform>(
        &self,
        platform: &P,
        first: usize,
        count: usize,
    ) -> Result<(), AllocError> {
        let (parts, within) = (&[Part { offset: 0, count }], first..first.saturating_add(count));
        self.take(platform, &Wanted { parts, align: 1, offset: 0, within }).map(drop)
    }

    /// Takes the blocks of all parts at the lowest base that is wanted, and returns the base.
    #[inline(never)]
    pub fn take<P: Platform>(&self, platform: &P, wanted: &Wanted<'_>) -> Result<usize, AllocError> {
        // Nothing is allocated under the lock: a map that is missing is taken outside of it, and
        // the search repeated. Each turn ends it or goes on where the last one stopped, or finds a map missing, or
        // finds that others were faster: they have what it found.
        let (mut from, mut spare) = (0, None);
        let result = loop {
            let pin = platform.pin();
            let mut state = self.state.lock(&pin);
            let base = match state.find(wanted, from) {
                Search::Found(base) => base,
                Search::Onward(base) => {
                    from = base;
                    continue;
                }
                Search::Nothing => break Err(AllocError::NO_SPACE),
            };
            let runs = wanted.parts.iter().map(|part| (base + part.offset, part.count));
            if let Some(missing) = runs.clone().find_map(|(first, count)| state.missing_map(first, count)) {
                if let Some(map) = spare.take() {
                    state.install(missing, map);
                    continue;
                }
                drop(state);
                spare = Map::take(platform);
                if spare.is_none() {
                    break Err(AllocError::NO_FRAMES);
                }
            } else if let [part] = wanted.parts
                && (base + part.offset) % MAP_BLOCKS + part.count <= MAP_BLOCKS
            {
                state.mark_used(base + part.offset, part.count);
                break Ok(base);
            } else {
                drop(state);
                drop(pin);
                if self.claim(platform, runs) {
                    break Ok(base);
                }
            }
        };
        if let Some(map) = spare {
            map.release(platform);
        }
        result
    }

    /// Takes runs of blocks that were just found free, and whose maps existed, map by map, so that the lock is not held
    /// for longer. Returns false, and takes nothing, if others took a block of them or a map meanwhile.
    pub(super) fn claim<P: Platform>(
        &self,
        platform: &P,
        runs: impl Iterator<Item = (usize, usize)> + Clone,
    ) -> bool {
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

    /// Gives back `count` blocks from `first`, all of them used. They lie in few maps: the lock is held for all.
    pub fn free(&self, pin: &impl CpuPin, first: usize, count: usize) {
        self.state.lock(pin).mark_free(first, count);
    }

    /// Gives back any number of blocks from `first`, all of them used, map by map.
    pub fn free_run<P: Platform>(&self, platform: &P, first: usize, count: usize) {
        pieces(first, count).for_each(|(first, count)| self.free(&platform.pin(), first, count));
    }

    /// Counts what is free.
    pub fn stats(&self, pin: &impl CpuPin) -> ArenaStats {
        self.state.lock(pin).stats()
    }

    /// Finds the first used block at or above `from`.
    pub fn next_used(&self, pin: &impl CpuPin, from: usize) -> Option<usize> {
        self.state.lock(pin).next_used(from)
    }

    /// Returns what `look` finds while a block is free and cannot be taken; `None` if it is used.
    pub fn while_free<T>(&self, pin: &impl CpuPin, number: usize, look: impl FnOnce() -> T) -> Option<T> {
        let mut state = self.state.lock(pin);
        state.is_free(number, 1).then(look)
    }

    /// Gives the maps back all of whose blocks are free, one at a time, and returns how many there were.
    pub fn release_free_maps<P: Platform>(&self, platform: &P) -> usize {
        let count = self.state.lock(&platform.pin()).map_count();
        let maps = (0..count).filter_map(|index| self.state.lock(&platform.pin()).take_free_map(index));
        maps.map(|map| map.release(platform)).count()
    }

    /// Gives everything back. All blocks must be free.
    ///
    /// # Safety
    /// The arena is not used again.
    pub unsafe fn release<P: Platform>(&mut self, platform: &P) {
        let state = self.state.get_mut();
        assert_eq!(state.free, state.blocks, "blocks are still in use");
        self.release_free_maps(platform);
        // SAFETY: the caller's promise.
        unsafe { self.state.get_mut().release(platform) };
    }
}
