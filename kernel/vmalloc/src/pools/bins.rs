//! Where blocks of small areas stand with their pool: in bins, by the log2 of the longest run of free pages.
//! Those that are entirely free are in the last one, up to a limit ([`may_keep`](Vmalloc::may_keep)).

use crate::{
    Vmalloc,
    blocks::block::{Block, Role},
    blocks::pages::{Listed, Pages},
    lock::Locked,
    pending::list::NONE,
    platform::{BLOCK_PAGES, LockClass, Platform},
    pools::ahead::Ahead,
};
use core::sync::atomic::Ordering;

/// log2 of the longest free run: 0 to 9.
const BINS: usize = 10;
/// Bin of the blocks that are entirely free.
const EMPTY: u8 = 9;
const _: () = assert!(BLOCK_PAGES == 1 << EMPTY && BINS == EMPTY as usize + 1);

/// The blocks of a pool with free pages, but the current one.
pub(crate) struct Bins {
    /// First block of each bin.
    first: [u32; BINS],
    /// Blocks in the last bin.
    empty: usize,
}

impl Bins {
    pub const fn new() -> Self {
        Self { first: [NONE; BINS], empty: 0 }
    }
}

impl Locked for Bins {
    const CLASS: LockClass = LockClass::Pool;
}

impl<P: Platform> Vmalloc<P> {
    /// Gives back `count` pages of a block, from its page `first`, that every CPU has flushed.
    pub(crate) fn give_pages(&self, number: usize, first: usize, count: usize) {
        let pin = self.platform.pin();
        self.settle(&pin, self.block(number), |pages| pages.give(first, count));
    }

    /// Changes a block of small areas so that pages may become free, then puts it where its longest
    /// free run says: into a bin, or out of use if all of it is free and there are such blocks enough.
    pub(crate) fn settle(&self, pin: &P::Pin, block: &Block, change: impl FnOnce(&mut Pages)) {
        let mut change = Some(change);
        // Again only if another CPU made the block one of its own pool's meanwhile.
        while let Role::Small { pool } = block.role() {
            let mut bins = self.pools[usize::from(pool)].bins.lock(pin);
            // Under its pool's lock the block stays there; it may just have gone to another.
            if block.role() != (Role::Small { pool }) {
                continue;
            }
            let mut pages = block.pages.lock(pin);
            if let Some(change) = change.take() {
                change(&mut pages);
            }
            if pages.listed == Listed::Current {
                return;
            }
            if let Listed::Bin(bin) = pages.listed {
                bins.unlink(self, block, bin);
            }
            pages.listed = Listed::No;
            let Some(bin) = pages.longest_run().checked_ilog2() else { return };
            if bin as u8 == EMPTY && pages.lazy {
                // A purge has it, though nothing waits there any more, and lists it when it is done.
                return;
            }
            if bin as u8 == EMPTY
                && !self.may_keep(bins.empty + 1, self.empty_blocks.load(Ordering::Relaxed) + 1)
            {
                block.set_role(Role::Freed { blocks: self.shared_blocks(), scattered: true });
                drop((pages, bins));
                return self.close_block(pin, block.number());
            }
            bins.link(self, block, bin as u8);
            pages.listed = Listed::Bin(bin as u8);
            return;
        }
        unreachable!("block {} holds pages of small areas", block.number());
    }

    /// Gives the pages taken ahead here back to their block.
    #[cold]
    pub(crate) fn give_ahead(&self, pin: &P::Pin, ahead: &Ahead) {
        if let Some((page, count)) = ahead.take_all() {
            let block = self.block(page / BLOCK_PAGES);
            let mut pages = block.pages.lock(pin);
            if pages.listed == Listed::Current {
                return pages.give(page % BLOCK_PAGES, count);
            }
            drop(pages);
            self.settle(pin, block, |pages| pages.give(page % BLOCK_PAGES, count));
        }
    }

    /// The same on all CPUs.
    pub(crate) fn give_all_ahead(&self) {
        self.pools.iter().for_each(|pool| self.give_ahead(&self.platform.pin(), &pool.ahead));
    }

    /// Makes the pools let go of their current blocks.
    pub(crate) fn retire_current_blocks(&self) {
        for pool in &self.pools {
            let pin = self.platform.pin();
            self.give_ahead(&pin, &pool.ahead);
            if let Some(block) = pool.current.swap(None) {
                self.settle(&pin, block, |pages| pages.listed = Listed::No);
            }
        }
    }

    /// Takes blocks that are entirely free out of use.
    pub(crate) fn close_empty_blocks(&self) {
        for pool in &self.pools {
            // Those that were there at first: others may put back what they took and did not use.
            let empty = pool.bins.lock(&self.platform.pin()).empty;
            for _ in 0..empty {
                let pin = self.platform.pin();
                let mut bins = pool.bins.lock(&pin);
                let number = bins.first[usize::from(EMPTY)];
                if number == NONE {
                    break;
                }
                let block = self.block(number as usize);
                bins.unlink(self, block, EMPTY);
                block.pages.lock(&pin).listed = Listed::No;
                block.set_role(Role::Freed { blocks: self.shared_blocks(), scattered: true });
                drop(bins);
                self.close_block(&pin, number as usize);
            }
        }
    }
}

impl Bins {
    /// Takes a block out that has, as far as is known, a free run of `room` pages.
    pub fn take_fitting<'a, P: Platform>(
        &mut self,
        vmalloc: &'a Vmalloc<P>,
        room: usize,
    ) -> Option<&'a Block> {
        let lowest = room.next_power_of_two().ilog2() as usize;
        let bin = (lowest..BINS).find(|&bin| self.first[bin] != NONE)?;
        let block = vmalloc.block(self.first[bin] as usize);
        self.unlink(vmalloc, block, bin as u8);
        Some(block)
    }

    fn link<P: Platform>(&mut self, vmalloc: &Vmalloc<P>, block: &Block, bin: u8) {
        let head = &mut self.first[usize::from(bin)];
        block.previous.store(NONE, Ordering::Relaxed);
        block.next.store(*head, Ordering::Relaxed);
        if *head != NONE {
            vmalloc.block(*head as usize).previous.store(block.number() as u32, Ordering::Relaxed);
        }
        *head = block.number() as u32;
        if bin == EMPTY {
            self.empty += 1;
            vmalloc.empty_blocks.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn unlink<P: Platform>(&mut self, vmalloc: &Vmalloc<P>, block: &Block, bin: u8) {
        let (previous, next) = (block.previous.load(Ordering::Relaxed), block.next.load(Ordering::Relaxed));
        match previous {
            NONE => self.first[usize::from(bin)] = next,
            _ => vmalloc.block(previous as usize).next.store(next, Ordering::Relaxed),
        }
        if next != NONE {
            vmalloc.block(next as usize).previous.store(previous, Ordering::Relaxed);
        }
        if bin == EMPTY {
            self.empty -= 1;
            vmalloc.empty_blocks.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
