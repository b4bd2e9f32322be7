//! Bins: the blocks of a pool with free pages, but the current one, by the log2 of their longest free run. Those that
//! are entirely free are in the last bin.

use crate::{
    BLOCK_PAGES, LockClass, Platform,
    atomic::{AtomicUsize, Ordering},
    blocks::{Block, Blocks, NO_BLOCK},
    lock::Locked,
};

/// log2 of the longest free run: 0 to 9.
const BINS: usize = 10;
/// Bin of the blocks that are entirely free.
pub(super) const EMPTY: u8 = 9;
const _: () = assert!(BLOCK_PAGES == 1 << EMPTY && BINS == EMPTY as usize + 1);

/// A pool's bins. A block's links are its bin's, so the pool's lock guards them too.
pub(super) struct Bins {
    /// First block of each bin.
    first: [u32; BINS],
    /// Blocks in the last bin.
    empty: usize,
}

impl Locked for Bins {
    const CLASS: LockClass = LockClass::Pool;
}

impl Bins {
    pub const fn new() -> Self {
        Self { first: [NO_BLOCK; BINS], empty: 0 }
    }

    /// Blocks that are entirely free.
    pub fn empty(&self) -> usize {
        self.empty
    }

    /// A block that is entirely free.
    pub fn first_empty(&self) -> Option<usize> {
        let first = self.first[usize::from(EMPTY)];
        (first != NO_BLOCK).then_some(first as usize)
    }

    /// Takes a block out that has, as far as is known, a free run of `room` pages. `all_empty` counts blocks that are
    /// entirely free in the bins of all pools.
    pub fn take_fitting<'a, P: Platform>(
        &mut self,
        blocks: &'a Blocks<P>,
        all_empty: &AtomicUsize,
        room: usize,
    ) -> Option<&'a Block> {
        let lowest = room.next_power_of_two().ilog2() as usize;
        let bin = (lowest..BINS).find(|&bin| self.first[bin] != NO_BLOCK)?;
        let block = blocks.block(self.first[bin] as usize);
        self.unlink(blocks, all_empty, block, bin as u8);
        Some(block)
    }

    pub fn link<P: Platform>(&mut self, blocks: &Blocks<P>, all_empty: &AtomicUsize, block: &Block, bin: u8) {
        let head = &mut self.first[usize::from(bin)];
        block.previous.store(NO_BLOCK, Ordering::Relaxed);
        block.next.store(*head, Ordering::Relaxed);
        if *head != NO_BLOCK {
            blocks.block(*head as usize).previous.store(block.number() as u32, Ordering::Relaxed);
        }
        *head = block.number() as u32;
        if bin == EMPTY {
            self.empty += 1;
            all_empty.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn unlink<P: Platform>(
        &mut self,
        blocks: &Blocks<P>,
        all_empty: &AtomicUsize,
        block: &Block,
        bin: u8,
    ) {
        let (previous, next) = (block.previous.load(Ordering::Relaxed), block.next.load(Ordering::Relaxed));
        match previous {
            NO_BLOCK => self.first[usize::from(bin)] = next,
            _ => blocks.block(previous as usize).next.store(next, Ordering::Relaxed),
        }
        if next != NO_BLOCK {
            blocks.block(next as usize).previous.store(previous, Ordering::Relaxed);
        }
        if bin == EMPTY {
            self.empty -= 1;
            all_empty.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
