//! Taking pages. Each way to take some says how far it searches:
//!
//! | way | searches |
//! |---|---|
//! | [`take_block`](Pools::take_block) | the CPU's bins, for a block that is entirely free, unless others are to be used first |
//! | [`take_rest`](Pools::take_rest) | the CPU's bump run, of which it takes all there is: no lock, one exchange |
//! | [`take_near`](Pools::take_near) | the CPU's pool: its bump run, its current block, its bins |
//! | [`take`](Pools::take) | everything: after the CPU's pool a new block, then the pools of others, then each block |

use super::{Pools, bins::Bins, state::pool_of};
use crate::{
    AllocError, BLOCK_PAGES, CpuPin, Owner, Platform,
    blocks::{Block, Listed, Pages, Role},
    page_table::slot::{Slot, Slots},
};

/// Pages of a block that belong to the caller.
#[derive(Clone, Copy)]
pub(crate) struct PageRun<'a> {
    /// The number of the first in the span.
    pub page: usize,
    /// The block's leaf table.
    pub leaf: &'a Slots,
    /// Whether the pages may have frames cached in their entries, though they are to show frames of others.
    pub has_frames: bool,
}

impl<P: Platform> Pools<P> {
    /// Takes a block of the CPU's pool that is entirely free, and caches no frames, as a whole, if neither the bump run nor the
    /// current block has `count` free pages, nor a lower bin a block that fits. It is cheaper than
    /// [`take_near`](Self::take_near), because the block does not become the current one.
    pub fn take_block(&self, pin: &P::Pin, owner: Owner, count: usize) -> Option<PageRun<'_>> {
        let pool = self.pool(pin, owner);
        let has_room = |block: &Block| block.pages.lock(pin).free() >= count;
        if !pool.bump.is_empty() || pool.current.get(pin).is_some_and(has_room) {
            return None;
        }
        let mut bins = pool.bins.lock(pin);
        let (number, Bins::EMPTY) = bins.find_fitting(count)? else { return None };
        let block = self.pending.blocks.block(number, pin);
        let mut pages = block.pages.lock(pin);
        if pages.has_frames() {
            return None;
        }
        self.unlink(pin, &mut bins, block, Bins::EMPTY);
        pages.set_listed(Listed::No);
        pages.take_all();
        Some(PageRun { page: number * BLOCK_PAGES, leaf: self.pending.blocks.leaf(block), has_frames: false })
    }

    /// Takes all pages of the CPU's bump run: the number of the first, and their entries.
    pub fn take_rest(&self, pin: &P::Pin, owner: Owner) -> Option<(usize, &[Slot])> {
        self.pool(pin, owner).bump.take_rest()
    }

    /// Takes a run of `count` pages from the CPU's bump run.
    #[inline(always)]
    fn take_bump(&self, pin: &P::Pin, owner: Owner, count: usize) -> Option<PageRun<'_>> {
        let (page, leaf) = self.pool(pin, owner).bump.take(count)?;
        Some(PageRun { page, leaf, has_frames: false })
    }

    /// Takes a run of `count` pages from page `first` of a block, behind an area which the caller has, if they are free; or, if
    /// `cut_too`, if they were [cut off](crate::blocks::Pages::take_cut) it and are just as the cut left them.
    #[inline(always)]
    pub fn take_at(&self, pin: &P::Pin, number: usize, first: usize, count: usize, cut_too: bool) -> bool {
        if self.pool(pin, Owner::Area).bump.take_at(number * BLOCK_PAGES + first, count) {
            return true;
        }
        let mut pages = self.pending.blocks.block(number, pin).pages.lock(pin);
        let is_cut = cut_too && pages.take_cut(first, count);
        let is_taken = is_cut || pages.take_at(first, count);
        drop(pages);
        if is_cut {
            self.pending.uncount(count);
        }
        is_taken
    }

    /// Takes a run of `count` pages, less than a block, aligned to `align` pages, at most half a block.
    #[inline]
    pub fn take(&self, owner: Owner, count: usize, align: usize) -> Result<PageRun<'_>, AllocError> {
        let pin = self.platform().pin();
        match self.take_near(&pin, owner, count, align) {
            Some(run) => Ok(run),
            None => {
                drop(pin);
                self.take_far(owner, count, align)
            }
        }
    }

    /// Takes a run as [`take`](Self::take) does, if the CPU's pool has one.
    #[inline(always)]
    pub fn take_near(&self, pin: &P::Pin, owner: Owner, count: usize, align: usize) -> Option<PageRun<'_>> {
        if align == 1
            && let Some(run) = self.take_bump(pin, owner, count)
        {
            return Some(run);
        }
        match self.take_current(pin, owner, count, align) {
            Some(run) => Some(run),
            None => self.take_binned(pin, owner, count, align),
        }
    }

    /// Takes a run from the current block; what is free behind it becomes the bump run.
    #[inline(always)]
    fn take_current(&self, pin: &P::Pin, owner: Owner, count: usize, align: usize) -> Option<PageRun<'_>> {
        let pool = self.pool(pin, owner);
        if !pool.bump.is_empty() {
            self.give_bump(pin, &pool.bump);
        }
        let block = pool.current.get(pin)?;
        let mut pages = block.pages.lock(pin);
        // It may have stopped to be the current one before it was locked, and be out of use.
        if pages.listed() != Listed::Current {
            return None;
        }
        // A bump run is not looked at for cached frames; nor does it serve who aligns.
        let has_frames = owner == Owner::Caller && pages.has_frames();
        let (first, behind) = match align {
            1 if !has_frames => pages.take_all_of_run(count)?,
            _ => (pages.take(count, align)?, 0),
        };
        let (leaf, page) = (self.pending.blocks.leaf(block), block.number() * BLOCK_PAGES + first);
        // Under the block's lock: who finds them no longer there finds them in the bump run.
        if behind > 0 {
            pool.bump.put(page + count, behind, leaf);
        }
        drop(pages);
        Some(PageRun { page, leaf, has_frames })
    }

    /// Takes a run from one of the pool's other blocks, which becomes the current one.
    #[cold]
    #[inline(never)]
    fn take_binned(&self, pin: &P::Pin, owner: Owner, count: usize, align: usize) -> Option<PageRun<'_>> {
        let pool = pool_of(pin.cpu(), owner);
        // Areas that grew may have left a block less room than its bin says. It goes to the right bin when the next one
        // becomes current, so each is looked at once.
        while self.take_fitting(pin, pool, pool, count + align - 1).is_some() {
            if let Some(run) = self.take_current(pin, owner, count, align) {
                return Some(run);
            }
        }
        None
    }

    /// Takes a run from a new block, or where there is none from other pools.
    #[cold]
    fn take_far(&self, owner: Owner, count: usize, align: usize) -> Result<PageRun<'_>, AllocError> {
        // Only a CPU that has a record has pools. It is made before the block is opened: others, who may find no block, find
        // the pages of this one when it is current.
        let records = &self.pending.blocks.base.records;
        if !records.make_own::<P>(&self.platform().pin(), self.platform()) {
            return Err(AllocError::NO_FRAMES);
        }
        let opened = self.open_block();
        let pin = self.platform().pin();
        let opened = opened.map(|number| self.pending.blocks.block(number, &pin));
        // Another CPU by now, perhaps.
        if !records.make_own::<P>(&pin, self.platform()) {
            if let Ok(block) = opened {
                block.set_role(Role::Freed { blocks: self.arena_blocks(), scattered: true });
                self.pending.close(&pin, block);
            }
            return Err(AllocError::NO_FRAMES);
        }
        let pool = pool_of(pin.cpu(), owner);
        let taken = match opened {
            Ok(block) => {
                block.set_role(Role::Small { pool });
                // Not before it has its role: who found it as a current one before it went back to the arena, and comes only
                // now to lock it, takes pages of it from here on.
                block.pages.lock(&pin).set_listed(Listed::Current);
                self.make_current(&pin, pool, block);
                self.take_current(&pin, owner, count, align)
            }
            Err(AllocError::OutOfAddressSpace { .. }) => None,
            Err(error) => return Err(error),
        };
        // Others allocate from the new block too when address space is short.
        let taken = taken.or_else(|| self.take_from_others(&pin, pool, count, align));
        drop(pin);
        taken.or_else(|| self.take_in_place(count, align)).ok_or(AllocError::NO_SPACE)
    }

    /// Address space is short: takes a run from other pools' blocks, the current ones last.
    fn take_from_others(&self, pin: &P::Pin, own: u16, count: usize, align: usize) -> Option<PageRun<'_>> {
        self.give_all_bumps();
        for pool in self.numbers() {
            // Each turn takes a block away from the pool; its own CPU adds to it only what a purge has made free.
            while let Some(block) = self.take_fitting(pin, pool, own, count) {
                let run = self.take_from(block, pin, count, align);
                // A block of this CPU's pool may have runs that are not aligned well enough.
                if run.is_some() {
                    return run;
                } else if pool == own {
                    break;
                }
            }
        }
        let mut current = self.all().filter_map(|pool| pool.current.get(pin));
        current.find_map(|block| self.take_from(block, pin, count, align))
    }

    /// Address space is short, and no bin promises enough: takes a run from any block that a pool has in a bin, where it is. Its
    /// bin tells the longest run rounded down, and nothing of where that begins.
    #[cold]
    fn take_in_place(&self, count: usize, align: usize) -> Option<PageRun<'_>> {
        let blocks = &self.pending.blocks;
        // A pin and a lock for each: there may be many.
        blocks.known().find_map(|number| {
            let pin = self.platform().pin();
            let block = blocks.find(number, &pin)?;
            let mut pages = block.pages.lock(&pin);
            // One that is entirely free has its bin's promise, and stays so.
            let is_partly_free = matches!(pages.listed(), Listed::Bin(bin) if bin != Bins::EMPTY);
            let first = if is_partly_free { pages.take(count, align)? } else { return None };
            Some(PageRun { page: number * BLOCK_PAGES + first, leaf: blocks.leaf(block), has_frames: true })
        })
    }

    /// Takes a run from a current block that may be another CPU's.
    fn take_from(&self, block: &Block, pin: &P::Pin, count: usize, align: usize) -> Option<PageRun<'_>> {
        let mut pages = block.pages.lock(pin);
        // It may have stopped to be a current one before it was locked, and be out of use.
        let first = if pages.listed() == Listed::Current { pages.take(count, align)? } else { return None };
        let page = block.number() * BLOCK_PAGES + first;
        Some(PageRun { page, leaf: self.pending.blocks.leaf(block), has_frames: true })
    }

    /// Takes a block that has a free run of `room` pages out of the bins of pool `from`, and makes it the current
    /// one of pool `to`, one of this CPU.
    fn take_fitting<'a>(&'a self, pin: &'a P::Pin, from: u16, to: u16, room: usize) -> Option<&'a Block> {
        let mut bins = self.numbered(from).bins.lock(pin);
        let (number, bin) = bins.find_fitting(room)?;
        let block = self.pending.blocks.block(number, pin);
        self.unlink(pin, &mut bins, block, bin);
        if from != to {
            self.forget_leaf(block);
        }
        // Said under the pool's lock, so that nobody lists it meanwhile.
        block.pages.lock(pin).set_listed(Listed::Current);
        block.set_role(Role::Small { pool: to });
        drop(bins);
        self.make_current(pin, to, block);
        Some(block)
    }

    fn make_current(&self, pin: &P::Pin, pool: u16, block: &Block) {
        let blocks = &self.pending.blocks;
        let current = (block, blocks.span().address(block.number(), 0), blocks.leaf(block));
        let before = self.numbered(pool).set_current(pin, Some(current));
        if let Some(before) = before.filter(|before| before.number() != block.number()) {
            self.settle(pin, before, |pages| pages.set_listed(Listed::No));
        }
    }

    /// Opens a block, of which nobody takes pages until it is listed.
    fn open_block(&self) -> Result<usize, AllocError> {
        let (blocks, count) = (&self.pending.blocks, self.arena_blocks() as usize);
        let number = blocks.open(0, count, count, None)?;
        blocks.open_leaf(number).inspect_err(|_| blocks.give_back(number, count))?;
        blocks.link(number);
        let pin = self.platform().pin();
        *blocks.block(number, &pin).pages.lock(&pin) = Pages::new();
        Ok(number)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
