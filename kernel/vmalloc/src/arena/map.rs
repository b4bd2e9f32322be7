//! Which of 16384 blocks are used, and where their free runs are: one frame.
//!
//! There is a bit for each block, set while it is used, and above the bits a binary tree of free runs. A leaf
//! of the tree is 128 bits; each node has the lengths of the free run that its blocks begin with, of the one
//! that they end with, and of the longest. A search examines at most two nodes a level; an update stops where
//! a node does not change.
//!
//! It is used by the arena alone, under its lock. Nothing here takes a lock or allocates.

use crate::{PAGE_SIZE, Platform, Returned, bitmap::starts_of_runs};
use core::{mem, ptr::NonNull};

/// Maps of the largest arena.
pub(super) const MAPS: usize = 1024;
/// Blocks that a leaf tells of.
pub(super) const LEAF_BLOCKS: usize = u128::BITS as usize;
pub(super) const LEAVES: usize = 128;
/// Blocks that a map tells of: 32 GiB.
pub(super) const MAP_BLOCKS: usize = LEAF_BLOCKS * LEAVES;

/// Lengths of three free runs of a node's blocks: the one that they begin with, the one that they end with, the
/// longest. They are in one word, so that nodes are compared and stored at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(super) struct Node(u64);

impl Node {
    #[inline]
    fn new(prefix: usize, suffix: usize, longest: usize) -> Self {
        debug_assert!(prefix <= longest && suffix <= longest && longest <= MAP_BLOCKS);
        Self((prefix | suffix << 16 | longest << 32) as u64)
    }

    /// Makes the node of `blocks` blocks, of which the first `free` are free and the others used.
    pub fn free_below(free: usize, blocks: usize) -> Self {
        Self::new(free, if free == blocks { blocks } else { 0 }, free)
    }

    /// Makes the node of a leaf, of whose blocks the bits of `free` are free.
    #[inline]
    fn of_leaf(free: u128) -> Self {
        // Long runs are made of these.
        match free {
            0 => return Self::free_below(0, LEAF_BLOCKS),
            u128::MAX => return Self::free_below(LEAF_BLOCKS, LEAF_BLOCKS),
            _ => {}
        }
        Self::new(free.trailing_ones() as usize, free.leading_ones() as usize, longest_run(free))
    }

    /// Makes the node above two neighbours of `half` blocks each.
    #[inline]
    fn join(low: Self, high: Self, half: usize) -> Self {
        let prefix = low.prefix() + if low.prefix() == half { high.prefix() } else { 0 };
        let suffix = high.suffix() + if high.suffix() == half { low.suffix() } else { 0 };
        Self::new(prefix, suffix, low.longest().max(high.longest()).max(low.suffix() + high.prefix()))
    }

    #[inline]
    pub fn prefix(self) -> usize {
        self.0 as usize & 0xffff
    }

    #[inline]
    pub fn suffix(self) -> usize {
        (self.0 >> 16) as usize & 0xffff
    }

    #[inline]
    pub fn longest(self) -> usize {
        (self.0 >> 32) as usize
    }
}

/// A map: one frame, which the arena owns until it is [released](Self::release).
#[repr(C)]
pub(super) struct Map {
    /// A bit a block, set while it is used.
    leaves: [u128; LEAVES],
    /// Node 1 is the root; below node `n` are `2 * n` and `2 * n + 1`; the leaves start at `LEAVES`.
    nodes: [Node; 2 * LEAVES],
}

const _: () = assert!(size_of::<Map>() == PAGE_SIZE);

impl Map {
    /// Takes a frame and makes a map of free blocks of it; `None` if there is no frame.
    pub fn take<P: Platform>(platform: &P) -> Option<&'static mut Self> {
        let mut frame = platform.direct_map(platform.take_table()?).cast::<Self>();
        // SAFETY: promises 1 to 3 of `Platform`: the frame is ours until it is given back, which ends the map; it is
        // mapped, aligned, and initialised, because zeros are a valid `Map`.
        let map = unsafe { frame.as_mut() };
        for (index, node) in map.nodes.iter_mut().enumerate().skip(1) {
            let blocks = MAP_BLOCKS >> depth(index);
            *node = Node::free_below(blocks, blocks);
        }
        Some(map)
    }

    /// Ends the map and gives its frame back.
    pub fn release<P: Platform>(&'static mut self, platform: &P) {
        platform.give_table(Returned::new(platform.frame_of(NonNull::from(self).cast())));
    }

    #[inline]
    fn node(&self, index: usize) -> Node {
        self.nodes[index % (2 * LEAVES)]
    }

    #[inline]
    pub fn root(&self) -> Node {
        self.node(1)
    }

    /// Returns the used blocks of leaf `leaf % LEAVES`, as bits.
    #[inline]
    pub fn leaf(&self, leaf: usize) -> u128 {
        self.leaves[leaf % LEAVES]
    }

    /// Returns leaf `leaf % LEAVES` to change it, after which [`refresh`](Self::refresh) must update the tree.
    #[inline]
    pub fn leaf_mut(&mut self, leaf: usize) -> &mut u128 {
        &mut self.leaves[leaf % LEAVES]
    }

    /// Updates the tree above the leaves `first..=last`, and returns whether the root changed.
    pub fn refresh(&mut self, first: usize, last: usize) -> bool {
        debug_assert!(first <= last && last < LEAVES);
        let Self { leaves, nodes } = self;
        let mut changed = false;
        for leaf in first..last + 1 {
            let node = Node::of_leaf(!leaves[leaf % LEAVES]);
            changed |= mem::replace(&mut nodes[LEAVES + leaf % LEAVES], node) != node;
        }
        let (mut low, mut high, mut half) = (LEAVES + first, LEAVES + last, LEAF_BLOCKS);
        while changed && low > 1 {
            (low, high, changed) = (low / 2, high / 2, false);
            for index in low..high + 1 {
                changed |= join_below(nodes, index, half);
            }
            half *= 2;
        }
        changed
    }

    /// Finds the lowest free run of at least `count` blocks above leaf `leaf`; the last `below` blocks up to there are
    /// free, and count. `Err` has the number of free blocks that the map ends with, those `below` included if they are
    /// part of that run.
    pub fn find_above(
        &self,
        leaf: usize,
        mut below: usize,
        count: usize,
        steps: &mut u64,
    ) -> Result<usize, usize> {
        let (mut index, mut blocks) = (LEAVES + leaf, LEAF_BLOCKS);
        while index > 1 {
            // What is left has its neighbour on the right; what is right has nothing more in the node above.
            if index.is_multiple_of(2) {
                *steps += 1;
                let next = self.node(index + 1);
                if below + next.prefix() >= count {
                    return Ok(first_block(index + 1) - below);
                }
                if next.longest() >= count {
                    return Ok(self.find_in(index + 1, count, steps));
                }
                below = if next.prefix() == blocks { below + blocks } else { next.suffix() };
            }
            (index, blocks) = (index / 2, blocks * 2);
        }
        Err(below)
    }

    /// Finds the lowest free run of at least `count` blocks of a node, which has one. The root is node 1.
    pub fn find_in(&self, mut index: usize, count: usize, steps: &mut u64) -> usize {
        debug_assert!(self.node(index).longest() >= count);
        while index < LEAVES {
            *steps += 1;
            let (low, high) = (self.node(2 * index), self.node(2 * index + 1));
            if low.longest() >= count {
                index *= 2;
            } else if low.suffix() + high.prefix() >= count {
                return first_block(2 * index + 1) - low.suffix();
            } else {
                index = 2 * index + 1;
            }
        }
        *steps += 1;
        let starts = starts_of_runs(!self.leaf(index), count);
        first_block(index) + starts.trailing_zeros() as usize
    }

    /// Compares each node with the bits below it.
    #[cfg(all(test, not(loom)))]
    pub fn check(&self) {
        let is_free = |block: usize| self.leaf(block / LEAF_BLOCKS) >> (block % LEAF_BLOCKS) & 1 == 0;
        for index in 1..2 * LEAVES {
            let blocks = MAP_BLOCKS >> depth(index);
            let (first, end) = (first_block(index), first_block(index) + blocks);
            let (mut run, mut longest, mut prefix) = (0, 0, 0);
            for block in first..end {
                run = if is_free(block) { run + 1 } else { 0 };
                longest = longest.max(run);
                prefix += usize::from(run == block - first + 1);
            }
            assert_eq!(self.node(index), Node::new(prefix, run, longest), "node {index}");
        }
    }
}

/// Updates inner node `index % LEAVES` from the two of `half` blocks below it, and returns whether it changed.
#[inline]
fn join_below(nodes: &mut [Node; 2 * LEAVES], index: usize, half: usize) -> bool {
    let index = index % LEAVES;
    let node = Node::join(nodes[2 * index], nodes[2 * index + 1], half);
    mem::replace(&mut nodes[index], node) != node
}

/// Returns how far below the root a node is, which is the log2 of its index.
#[inline]
fn depth(index: usize) -> u32 {
    usize::BITS - 1 - index.leading_zeros()
}

/// Returns the first block of a node.
#[inline]
fn first_block(index: usize) -> usize {
    index * (MAP_BLOCKS >> depth(index)) - MAP_BLOCKS
}

/// Returns a leaf with the bits `first..first + count` set; `count` is 1 to [`LEAF_BLOCKS`].
#[inline]
pub(super) fn bits(first: usize, count: usize) -> u128 {
    (u128::MAX >> (LEAF_BLOCKS - count)) << first
}

/// Finds the lowest bit of a leaf at which `count` set bits start.
#[inline]
pub(super) fn lowest_run(bits: u128, count: usize) -> Option<usize> {
    let starts = if count <= LEAF_BLOCKS { starts_of_runs(bits, count) } else { 0 };
    (starts != 0).then(|| starts.trailing_zeros() as usize)
}

/// Returns the length of the longest run of set bits, not all of which are set.
#[inline]
fn longest_run(mut bits: u128) -> usize {
    let mut longest = 0;
    while bits != 0 {
        bits >>= bits.trailing_zeros();
        longest = longest.max(bits.trailing_ones());
        bits >>= bits.trailing_ones();
    }
    longest as usize
}
