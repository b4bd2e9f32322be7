//! Settling: where a block of a pool belongs once some of its pages became free, and emptying the pools.

use super::{Pools, bins::Bins, bump::Bump};
use crate::{
    BLOCK_PAGES, GuardPolicy, Platform,
    blocks::{Block, Listed, Pages, Role},
    lock::Guard,
};
use core::{ops::Range, sync::atomic::Ordering};

impl<P: Platform> Pools<P> {
    /// Gives back `count` pages of block `number`, from its page `first`, that every CPU has flushed.
    pub fn give(&self, number: usize, first: usize, count: usize) {
        let pin = self.platform().pin();
        self.settle(&pin, self.pending.blocks.block(number, &pin), |pages| pages.give(first, count));
    }

    /// Changes the pages of a block so that some may become free, then puts the block where its longest free run says:
    /// into a bin, or out of use if all of it is free and there are such blocks enough.
    pub fn settle<T>(&self, pin: &P::Pin, block: &Block, change: impl FnOnce(&mut Pages) -> T) -> T {
        // Again only if another CPU made the block one of its own pool's meanwhile.
        while let Role::Small { pool } = block.role() {
            let mut bins = self.numbered(pool).bins.lock(pin);
            // Under its pool's lock the block stays there; it may just have gone to another.
            if block.role() != (Role::Small { pool }) {
                continue;
            }
            let mut pages = block.pages.lock(pin);
            let changed = change(&mut pages);
            match pages.listed() {
                Listed::Current => return changed,
                Listed::Bin(bin) => self.unlink(pin, &mut bins, block, bin),
                Listed::No => {}
            }
            pages.set_listed(Listed::No);
            let empty = self.empty_blocks.load(Ordering::Relaxed);
            match pages.longest_run().checked_ilog2().map(|bin| bin as u8) {
                None => {}
                // A block that a purge has, though nothing waits there any more, is listed when the purge is done.
                Some(Bins::EMPTY) if pages.is_lazy() => {}
                Some(Bins::EMPTY) if !self.pending.may_cache(bins.empty + 1, empty + 1) => {
                    self.close(pin, bins, pages, block);
                }
                Some(bin) => {
                    self.link(pin, &mut bins, block, bin);
                    pages.set_listed(Listed::Bin(bin));
                }
            }
            return changed;
        }
        unreachable!("block {} holds pages of small areas", block.number());
    }

    /// Takes a block that is entirely free, and in no bin, out of use.
    fn close(
        &self,
        pin: &P::Pin,
        bins: Guard<'_, Bins, P::Pin>,
        pages: Guard<'_, Pages, P::Pin>,
        block: &Block,
    ) {
        // Under both locks, so that nobody lists it, takes pages of it, or makes it another pool's meanwhile.
        self.forget_leaf(block);
        block.set_role(Role::Freed { blocks: self.arena_blocks(), scattered: true });
        drop((pages, bins));
        self.pending.close(pin, block);
    }

    /// Makes the pool that a block belongs to forget its leaf table, because it is about to belong to that pool no more. The
    /// caller has the pool's lock, and the block is not current.
    pub(super) fn forget_leaf(&self, block: &Block) {
        let Role::Small { pool } = block.role() else { unreachable!("block {} has a pool", block.number()) };
        self.numbered(pool).leaves.forget(self.pending.blocks.span().address(block.number(), 0));
    }

    /// Blocks that a shared block takes from the arena.
    pub(super) fn arena_blocks(&self) -> u32 {
        match self.pending.blocks.base.policy.guards {
            GuardPolicy::BehindAreas => 1,
            GuardPolicy::BehindBlocks => 2,
        }
    }

    /// Gives the pages of a bump run back to their block.
    #[cold]
    pub(super) fn give_bump(&self, pin: &P::Pin, bump: &Bump) {
        if let Some((page, count)) = bump.take_all() {
            self.give_unused(pin, page, count);
        }
    }

    /// Gives back `count` pages from page `page` on that were taken with others, and not used.
    pub fn give_unused(&self, pin: &P::Pin, page: usize, count: usize) {
        let block = self.pending.blocks.block(page / BLOCK_PAGES, pin);
        let mut pages = block.pages.lock(pin);
        if pages.listed() == Listed::Current {
            return pages.give(page % BLOCK_PAGES, count);
        }
        drop(pages);
        self.settle(pin, block, |pages| pages.give(page % BLOCK_PAGES, count));
    }

    /// Gives the pages of all CPUs' bump runs back to their blocks.
    pub fn give_all_bumps(&self) {
        self.all().for_each(|pool| self.give_bump(&self.platform().pin(), &pool.bump));
    }

    /// Makes the pools of these CPUs let go of their current blocks.
    pub fn retire_current_blocks(&self, cpus: Range<usize>) {
        for pool in self.pools_of(cpus) {
            let pin = self.platform().pin();
            self.give_bump(&pin, &pool.bump);
            if let Some(block) = pool.set_current(&pin, None) {
                self.settle(&pin, block, |pages| pages.set_listed(Listed::No));
            }
        }
    }

    /// Takes blocks of these CPUs' pools that are entirely free out of use.
    pub fn close_empty_blocks(&self, cpus: Range<usize>) {
        for pool in self.pools_of(cpus) {
            // Those that were there at first: others may put back what they took and did not use.
            let empty = pool.bins.lock(&self.platform().pin()).empty;
            for _ in 0..empty {
                let pin = self.platform().pin();
                let mut bins = pool.bins.lock(&pin);
                let Some((number, Bins::EMPTY)) = bins.find_fitting(BLOCK_PAGES) else { break };
                let block = self.pending.blocks.block(number, &pin);
                self.unlink(&pin, &mut bins, block, Bins::EMPTY);
                let mut pages = block.pages.lock(&pin);
                pages.set_listed(Listed::No);
                self.close(&pin, bins, pages, block);
            }
        }
    }
}
