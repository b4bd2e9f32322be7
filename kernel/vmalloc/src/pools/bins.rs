//! Bins: all blocks of a pool with free pages except the current one, by the log2 of their longest free run. Those that
//! are entirely free are in the last bin.

use super::Pools;
use crate::{
    BLOCK_PAGES, LockClass, Platform,
    atomic::Ordering,
    blocks::{Block, NO_BLOCK},
    lock::Locked,
};

/// log2 of the longest free run: 0 to 9.
const BINS: usize = 10;
const _: () = assert!(BLOCK_PAGES == 1 << Bins::EMPTY && BINS == Bins::EMPTY as usize + 1);

/// A pool's bins. A block's links are its bin's, so the pool's lock guards them too.
pub(super) struct Bins {
    /// First block of each bin.
    first: [u32; BINS],
    /// Blocks in the last bin.
    pub empty: usize,
}

impl Locked for Bins {
    const CLASS: LockClass = LockClass::Pool;
}

impl Bins {
    /// Bin of the blocks that are entirely free.
    pub const EMPTY: u8 = 9;

    pub const fn new() -> Self {
        Self { first: [NO_BLOCK; BINS], empty: 0 }
    }

    /// Finds a block that has, as far as is known, a free run of `room` pages, and its bin.
    pub fn find_fitting(&self, room: usize) -> Option<(usize, u8)> {
        let lowest = room.next_power_of_two().ilog2() as usize;
        let bin = (lowest..BINS).find(|&bin| self.first[bin] != NO_BLOCK)?;
        Some((self.first[bin] as usize, bin as u8))
    }
}

impl<P: Platform> Pools<P> {
    /// Puts a block into a bin.
    pub(super) fn link(&self, pin: &P::Pin, bins: &mut Bins, block: &Block, bin: u8) {
        let head = &mut bins.first[usize::from(bin)];
        block.previous.store(NO_BLOCK, Ordering::Relaxed);
        block.next.store(*head, Ordering::Relaxed);
        if *head != NO_BLOCK {
            let head = self.pending.blocks.block(*head as usize, pin);
            head.previous.store(block.number() as u32, Ordering::Relaxed);
        }
        *head = block.number() as u32;
        if bin == Bins::EMPTY {
            bins.empty += 1;
            self.empty_blocks.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a block out of its bin.
    pub(super) fn unlink(&self, pin: &P::Pin, bins: &mut Bins, block: &Block, bin: u8) {
        let blocks = &self.pending.blocks;
        let (previous, next) = (block.previous.load(Ordering::Relaxed), block.next.load(Ordering::Relaxed));
        match previous {
            NO_BLOCK => bins.first[usize::from(bin)] = next,
            _ => blocks.block(previous as usize, pin).next.store(next, Ordering::Relaxed),
        }
        if next != NO_BLOCK {
            blocks.block(next as usize, pin).previous.store(previous, Ordering::Relaxed);
        }
        if bin == Bins::EMPTY {
            bins.empty -= 1;
            self.empty_blocks.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
