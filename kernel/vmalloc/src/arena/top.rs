//! A tree of maxima over an arena's maps: in which of them a free run of some length may end.
//!
//! A map's value is the longest free run inside it, or the one it begins with together with the one that the
//! map before it ends with, whichever is longer: the runs of two maps at most. Longer runs consist of maps
//! that are entirely free, which a search for any value finds.
//!
//! It is used by the arena alone, under its lock.

use super::map::MAPS;
use crate::{Platform, framed::Framed};

pub(super) struct Top {
    /// Node 1 is the root; below node `n` are `2 * n` and `2 * n + 1`; the values of the maps start at `leaves`.
    nodes: Framed<[u16; 2 * MAPS]>,
    /// A power of two, at least the number of maps. An arena of one map needs no tree.
    leaves: usize,
}

impl Top {
    /// Makes a tree over `maps` maps in which all values are 0. `None` means that there was no frame.
    pub fn new<P: Platform>(platform: &P, maps: usize) -> Option<Self> {
        assert!(maps <= MAPS);
        Some(Self { nodes: Framed::zeroed(platform)?, leaves: maps.next_power_of_two() })
    }

    /// Gives the frame back.
    ///
    /// # Safety
    /// The tree is not used again.
    pub unsafe fn release<P: Platform>(&mut self, platform: &P) {
        // SAFETY: the caller's promise.
        unsafe { self.nodes.give_back(platform) };
    }

    /// Sets the value of a map.
    pub fn set(&mut self, map: usize, mut value: u16) {
        let mut index = self.leaves + map;
        while self.nodes[index] != value {
            self.nodes[index] = value;
            if index == 1 {
                return;
            }
            value = value.max(self.nodes[index ^ 1]);
            index /= 2;
        }
    }

    /// Finds the first map at or above `from` whose value is at least `wanted`.
    pub fn next(&self, from: usize, wanted: u16, steps: &mut u64) -> Option<usize> {
        if from >= self.leaves {
            return None;
        }
        let mut index = self.leaves + from;
        *steps += 1;
        while self.nodes[index] < wanted {
            // To the next subtree on the right; there is none right of a path of right turns only.
            index >>= index.trailing_ones();
            if index == 0 {
                return None;
            }
            index += 1;
            *steps += 1;
        }
        while index < self.leaves {
            index *= 2;
            index += usize::from(self.nodes[index] < wanted);
            *steps += 1;
        }
        Some(index - self.leaves)
    }

    #[cfg(all(test, not(loom)))]
    pub fn check(&self, values: impl Fn(usize) -> u16) {
        for map in 0..self.leaves {
            assert_eq!(self.nodes[self.leaves + map], values(map), "value of map {map}");
        }
        for index in 1..self.leaves {
            let below = self.nodes[2 * index].max(self.nodes[2 * index + 1]);
            assert_eq!(self.nodes[index], below, "maximum at node {index}");
        }
    }
}
