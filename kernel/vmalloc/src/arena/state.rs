//! What the arena's lock guards: the maps, the tree over them, and the cached start of searches.

use super::{
    map::{LEAF_BLOCKS, LEAVES, MAP_BLOCKS, MAPS, Map, Node, bits},
    maps::Maps,
    top::Top,
};
use crate::{Platform, SearchPolicy};

/// The most blocks an arena can hold: 32 TiB.
pub(crate) const MAX_BLOCKS: usize = MAP_BLOCKS * MAPS;

/// Counters of the arena, in blocks of address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArenaStats {
    pub free: usize,
    pub longest_run: usize,
    pub maps: usize,
    /// Frames that the arena takes beside its maps.
    pub frames: usize,
    /// Leaves, nodes and maps that searches examined so far.
    pub steps: u64,
}

/// No leaf.
const NONE: usize = usize::MAX;

pub(super) struct State {
    pub(super) maps: Maps,
    pub(super) top: Top,
    pub(super) blocks: usize,
    /// All blocks below are used.
    pub(super) search_start: usize,
    pub(super) free: usize,
    /// The one leaf, counted over all maps, that the trees above it may not have been updated for.
    pub(super) unsettled: usize,
    pub(super) policy: SearchPolicy,
    pub(super) steps: u64,
}

impl State {
    /// Makes the state of `blocks` free blocks. `None` means that there were no frames.
    pub fn new<P: Platform>(platform: &P, blocks: usize, policy: SearchPolicy) -> Option<Self> {
        let maps = blocks.div_ceil(MAP_BLOCKS);
        let mut top = Top::new(platform, maps)?;
        let Some(maps) = Maps::new(platform, maps) else {
            // SAFETY: it was just made.
            unsafe { top.release(platform) };
            return None;
        };
        let mut state =
            Self { maps, top, blocks, search_start: 0, free: blocks, unsettled: NONE, policy, steps: 0 };
        (0..state.map_count()).for_each(|map| state.refresh_top(map));
        Some(state)
    }

    pub(super) fn map_count(&self) -> usize {
        self.blocks.div_ceil(MAP_BLOCKS)
    }

    /// Returns how many blocks of a map the arena has; those above them are used.
    pub(super) fn blocks_of(&self, map: usize) -> usize {
        (self.blocks - map * MAP_BLOCKS).min(MAP_BLOCKS)
    }

    pub(super) fn root(&self, map: usize) -> Node {
        match &self.maps[map] {
            Some(map) => map.root(),
            None => self.free_root(map),
        }
    }

    /// Returns what the root of a map is while none of its blocks is used.
    pub(super) fn free_root(&self, map: usize) -> Node {
        Node::free_below(self.blocks_of(map), MAP_BLOCKS)
    }

    /// Returns the first map that a run of blocks needs and that does not exist.
    #[inline]
    pub fn missing_map(&self, first: usize, count: usize) -> Option<usize> {
        (first / MAP_BLOCKS..(first + count).div_ceil(MAP_BLOCKS)).find(|&map| self.maps[map].is_none())
    }

    /// Puts a map of free blocks where one is missing.
    pub fn install(&mut self, index: usize, map: &'static mut Map) {
        change(map, self.blocks_of(index), MAP_BLOCKS, |leaf, mask| *leaf |= mask);
        self.maps[index] = Some(map);
    }

    /// Marks free blocks used. Their maps must exist.
    pub fn mark_used(&mut self, first: usize, count: usize) {
        self.mark(first, count, |leaf, mask| {
            assert!(*leaf & mask == 0, "the arena gave a block twice");
            *leaf |= mask;
        });
        self.free -= count;
        if self.search_start == first {
            self.search_start = first + count;
        }
    }

    /// Marks used blocks free.
    #[inline]
    pub fn mark_free(&mut self, first: usize, count: usize) {
        let end = first.checked_add(count);
        assert!(end.is_some_and(|end| end <= self.blocks), "the arena got a block that it does not have");
        self.mark(first, count, |leaf, mask| {
            assert!(*leaf & mask == mask, "the arena got a block back twice");
            *leaf &= !mask;
        });
        self.free += count;
        self.search_start = self.search_start.min(first);
    }

    /// Calls `one` with each leaf of the run and the run's bits in it.
    #[inline]
    fn mark(&mut self, first: usize, count: usize, one: impl Fn(&mut u128, u128)) {
        let (leaf, bit) = (first / LEAF_BLOCKS, first % LEAF_BLOCKS);
        if count > 0 && count <= LEAF_BLOCKS - bit {
            if leaf != self.unsettled {
                self.settle();
                self.unsettled = leaf;
            }
            let map = existing(&mut self.maps[first / MAP_BLOCKS]);
            one(map.leaf_mut(leaf), bits(bit, count));
        } else {
            self.mark_long(first, count, one);
        }
    }

    #[inline(never)]
    fn mark_long(&mut self, first: usize, count: usize, one: impl Fn(&mut u128, u128)) {
        self.settle();
        for (first, count) in pieces(first, count) {
            let (index, first) = (first / MAP_BLOCKS, first % MAP_BLOCKS);
            if change(existing(&mut self.maps[index]), first, first + count, &one) {
                self.refresh_top(index);
            }
        }
    }

    /// Updates the trees for the leaf that changed last.
    #[inline]
    pub(super) fn settle(&mut self) {
        if self.unsettled != NONE {
            self.settle_leaf();
        }
    }

    #[inline(never)]
    fn settle_leaf(&mut self) {
        let leaf = core::mem::replace(&mut self.unsettled, NONE);
        let index = leaf / LEAVES;
        if existing(&mut self.maps[index]).refresh(leaf % LEAVES, leaf % LEAVES) {
            self.refresh_top(index);
        }
    }

    /// Returns the value that a map is to have in the tree over the maps.
    fn top_value(&self, map: usize) -> u16 {
        let below = if map == 0 { 0 } else { self.root(map - 1).suffix() };
        let root = self.root(map);
        // At most two maps, 2^15.
        root.longest().max(below + root.prefix()) as u16
    }

    /// Updates the tree over the maps, where the root of a map has changed.
    fn refresh_top(&mut self, map: usize) {
        self.top.set(map, self.top_value(map));
        if map + 1 < self.map_count() {
            self.top.set(map + 1, self.top_value(map + 1));
        }
    }

    /// Counts what is free.
    pub fn stats(&mut self) -> ArenaStats {
        self.settle();
        let (mut longest_run, mut below) = (0, 0);
        for map in 0..self.map_count() {
            let root = self.root(map);
            longest_run = longest_run.max(root.longest()).max(below + root.prefix());
            below = root.suffix() + if root.suffix() == MAP_BLOCKS { below } else { 0 };
        }
        let maps = self.maps.iter().flatten().count();
        let frames = 1 + self.maps.frames();
        ArenaStats { free: self.free, longest_run, maps, frames, steps: self.steps }
    }

    /// Takes a map out if all of its blocks are free: one that is missing means just that.
    pub fn take_free_map(&mut self, index: usize) -> Option<&'static mut Map> {
        self.settle();
        let free = index < self.map_count() && self.root(index) == self.free_root(index);
        if free { self.maps[index].take() } else { None }
    }

    /// Gives back the frames of an arena that has no maps.
    ///
    /// # Safety
    /// The state is not used again.
    pub unsafe fn release<P: Platform>(&mut self, platform: &P) {
        self.maps.release(platform);
        // SAFETY: the caller's promise.
        unsafe { self.top.release(platform) };
    }

    /// Compares every count, node and cached start with the bits.
    #[cfg(all(test, not(loom)))]
    pub fn check(&mut self) {
        extern crate std;
        self.settle();
        let mut free = 0;
        for (index, map) in self.maps.iter().enumerate() {
            let blocks = self.blocks.saturating_sub(index * MAP_BLOCKS).min(MAP_BLOCKS);
            let Some(map) = map else {
                free += blocks;
                continue;
            };
            let is_free = |block: usize| map.leaf(block / LEAF_BLOCKS) >> (block % LEAF_BLOCKS) & 1 == 0;
            assert!(!(blocks..MAP_BLOCKS).any(is_free), "a block above the arena's end is free");
            free += (0..blocks).filter(|&block| is_free(block)).count();
            map.check();
        }
        assert_eq!(free, self.free);
        assert!((0..self.search_start).all(|block| {
            self.maps[block / MAP_BLOCKS]
                .as_ref()
                .is_some_and(|map| map.leaf(block / LEAF_BLOCKS) >> (block % LEAF_BLOCKS) & 1 != 0)
        }));
        self.top.check(|map| if map < self.map_count() { self.top_value(map) } else { 0 });
    }
}

/// Cuts a run of blocks where maps end: returns the first block and the count of each piece.
pub(super) fn pieces(first: usize, count: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
    let end = first + count;
    (first / MAP_BLOCKS..end.div_ceil(MAP_BLOCKS)).map(move |map| {
        let first = first.max(map * MAP_BLOCKS);
        (first, end.min((map + 1) * MAP_BLOCKS) - first)
    })
}

#[inline]
fn existing<'a>(map: &'a mut Option<&'static mut Map>) -> &'a mut Map {
    map.as_deref_mut().unwrap_or_else(|| unreachable!("used blocks have a map"))
}

/// Calls `one` with each leaf of the blocks `first..end` of a map and their bits in it, and updates
/// its tree. Returns whether the root changed.
fn change(map: &mut Map, first: usize, end: usize, one: impl Fn(&mut u128, u128)) -> bool {
    if first == end {
        return false;
    }
    let mut block = first;
    while block < end {
        let in_leaf = (end - block).min(LEAF_BLOCKS - block % LEAF_BLOCKS);
        one(map.leaf_mut(block / LEAF_BLOCKS), bits(block % LEAF_BLOCKS, in_leaf));
        block += in_leaf;
    }
    map.refresh(first / LEAF_BLOCKS, (end - 1) / LEAF_BLOCKS)
}
