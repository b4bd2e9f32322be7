//! A CPU's supplies of pages from blocks that areas share.
//!
//! It has two pools: one of blocks whose areas own their frames, so that free pages there keep frames
//! to be used again; one of blocks that show frames of others. Only when address space is short does
//! either take from the other.
//!
//! A pool has one current block, which its CPU allocates from, and bins of blocks with free pages, by
//! their longest free run (`bins`). A block in which nothing is free is in no bin; the purge that makes room in
//! it lists it.
//! When neither the pool nor the arena has anything, it takes blocks from other pools.
//!
//! From the current block the CPU takes pages ahead (`ahead`), which it then hands out without a lock.
//!
//! Locks: the block's for what is not there, and for each free; the pool's, before it, only when a block is
//! listed.

use crate::{
    AllocError, Vmalloc,
    blocks::block::{Block, BlockSlot, Role},
    blocks::pages::{Listed, Pages},
    lock::Lock,
    page_table::directories::page_address,
    platform::{BLOCK_PAGES, CpuPin, Frame, PAGE_SIZE, Platform, Table},
    pools::ahead::Ahead,
    pools::bins::Bins,
    tlb::cpus::MAX_CPUS,
    types::policy::GuardPolicy,
};
use core::{
    ptr,
    sync::atomic::{AtomicPtr, AtomicU64, Ordering},
};

/// Whose frames an area's pages show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// The area's own.
    Owned,
    /// Somebody else's.
    Foreign,
}

/// Two for each CPU.
pub(crate) const POOLS: usize = 2 * MAX_CPUS;

impl Supply {
    /// The number of a CPU's pool.
    #[inline]
    fn pool(self, cpu: usize) -> usize {
        cpu % MAX_CPUS + if self == Self::Foreign { MAX_CPUS } else { 0 }
    }
}

/// See the module's documentation.
#[repr(align(64))]
pub(crate) struct Pool {
    /// The current block. A new one is put there only by the pool's own CPU, pinned.
    pub current: BlockSlot,
    /// Pages of the current block, mostly, that the CPU has taken ahead.
    pub ahead: Ahead,
    /// The frame that the page of the last guard page had kept; the next page that has none gets it.
    pub spare: Spare,
    pub bins: Lock<Bins>,
}

impl Pool {
    pub const fn new() -> Self {
        Self {
            current: BlockSlot::new(),
            ahead: Ahead::from_parts(AtomicU64::new(0), AtomicPtr::new(ptr::null_mut())),
            spare: Spare::none(),
            bins: Lock::new(Bins::new()),
        }
    }
}

/// Place for a frame.
pub(crate) struct Spare(AtomicU64);

impl Spare {
    /// Set in the word of a frame, whose address has zeros there: so frame 0 is one too.
    const IS_FRAME: u64 = 1;

    const fn none() -> Self {
        Self(AtomicU64::new(0))
    }

    fn is_some(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Puts a frame here, or none: the one before.
    pub fn swap(&self, frame: Option<Frame>) -> Option<Frame> {
        let word = frame.map_or(0, |frame| frame.address() | Self::IS_FRAME);
        let before = self.0.swap(word, Ordering::Relaxed);
        (before != 0).then(|| Frame::at(before - Self::IS_FRAME))
    }
}

/// Pages of a block that belong to the caller.
#[derive(Clone, Copy)]
pub(crate) struct SmallRun<'a> {
    /// The number of the first in the range.
    pub page: usize,
    /// The block's leaf table.
    pub leaf: &'a Table,
    /// Whether the pages may keep frames from their last use, though they are to show frames of others.
    pub keeps: bool,
}

impl<P: Platform> Vmalloc<P> {
    /// Takes a run of `count` pages, less than a block, aligned to `align` pages, at most half a block.
    #[inline]
    pub(crate) fn take_pages(
        &self,
        supply: Supply,
        count: usize,
        align: usize,
    ) -> Result<SmallRun<'_>, AllocError> {
        let pin = self.platform.pin();
        match self.take_current(&pin, supply, count, align) {
            Some(run) => Ok(run),
            None => self.take_pages_elsewhere(pin, supply, count, align),
        }
    }

    /// The same from what the CPU has taken ahead, or from the current block.
    #[inline(always)]
    pub(crate) fn take_current(
        &self,
        pin: &P::Pin,
        supply: Supply,
        count: usize,
        align: usize,
    ) -> Option<SmallRun<'_>> {
        if align == 1
            && let Some((page, leaf)) = self.pool(pin, supply).ahead.take(count)
        {
            return Some(SmallRun { page, leaf, keeps: false });
        }
        self.take_locked(pin, supply, count, align)
    }

    /// A pool of the CPU's.
    #[inline(always)]
    pub(crate) fn pool(&self, pin: &P::Pin, supply: Supply) -> &Pool {
        &self.pools[supply.pool(pin.cpu())]
    }

    /// As [`BlockTable::get`](crate::blocks::table::BlockTable::get), by who expects block `number` to be the CPU's
    /// current one: mostly what is given back was taken on this CPU, not long ago.
    #[inline(always)]
    pub(crate) fn near<'a>(&'a self, pin: &'a P::Pin, supply: Supply, number: usize) -> Option<&'a Block> {
        let current = self.pool(pin, supply).current.get(pin).filter(|block| block.number() == number);
        current.or_else(|| self.table.get(number, pin))
    }

    /// Takes a run from the current block, and what is free behind it ahead.
    #[inline(always)]
    pub(crate) fn take_locked(
        &self,
        pin: &P::Pin,
        supply: Supply,
        count: usize,
        align: usize,
    ) -> Option<SmallRun<'_>> {
        let pool = self.pool(pin, supply);
        if !pool.ahead.is_empty() {
            self.give_ahead(pin, &pool.ahead);
        }
        let block = pool.current.get(pin)?;
        let mut pages = block.pages.lock(pin);
        // It may have stopped to be the current one before it was locked, and be out of use.
        if pages.listed != Listed::Current {
            return None;
        }
        // What is taken ahead is not looked at for kept frames; nor does it serve who aligns.
        let keeps = supply == Supply::Foreign && pages.keeps;
        let (first, behind) = match align {
            1 if !keeps => pages.take_all_of_run(count)?,
            _ => (pages.take(count, align)?, 0),
        };
        drop(pages);
        let (leaf, page) = (self.small_leaf(block), block.number() * BLOCK_PAGES + first);
        if behind > 0 {
            pool.ahead.put(page + count, behind, leaf);
        }
        Some(SmallRun { page, leaf, keeps })
    }

    /// Takes a run from a block that may be another CPU's.
    fn take_from(&self, block: &Block, pin: &P::Pin, count: usize, align: usize) -> Option<SmallRun<'_>> {
        let first = block.pages.lock(pin).take_current(count, align)?;
        let page = block.number() * BLOCK_PAGES + first;
        Some(SmallRun { page, leaf: self.small_leaf(block), keeps: true })
    }

    /// The current block has no such run: makes one of the pool's others current.
    #[cold]
    #[inline(never)]
    pub(crate) fn take_listed(
        &self,
        pin: &P::Pin,
        supply: Supply,
        count: usize,
        align: usize,
    ) -> Option<SmallRun<'_>> {
        let own = supply.pool(pin.cpu());
        // Areas that grew may have left a block less room than its bin says. It goes to the right bin when the next one
        // becomes current, so each is looked at once.
        while let Some(block) = self.take_fitting(pin, own, own, count + align - 1) {
            self.make_current(pin, own, block);
            if let Some(run) = self.take_locked(pin, supply, count, align) {
                return Some(run);
            }
        }
        None
    }

    /// The same, or opens a block, or takes the pages from other pools.
    #[cold]
    fn take_pages_elsewhere(
        &self,
        pin: P::Pin,
        supply: Supply,
        count: usize,
        align: usize,
    ) -> Result<SmallRun<'_>, AllocError> {
        if let Some(run) = self.take_listed(&pin, supply, count, align) {
            return Ok(run);
        }
        // Frames are taken, and perhaps cleared: others may run meanwhile.
        drop(pin);
        let opened = self.open_small_block();
        let pin = self.platform.pin();
        let pool = supply.pool(pin.cpu());
        let taken = match opened {
            Ok(block) => {
                block.set_role(Role::Small { pool: pool as u16 });
                self.make_current(&pin, pool, block);
                self.take_locked(&pin, supply, count, align)
            }
            Err(AllocError::OutOfAddressSpace) => None,
            Err(error) => return Err(error),
        };
        match taken {
            Some(run) => Ok(run),
            // Others allocate from it too when address space is short.
            None => self.take_pages_from_others(&pin, pool, count, align),
        }
    }

    /// Address space is short: takes pages from other pools' blocks, the current ones last.
    fn take_pages_from_others(
        &self,
        pin: &P::Pin,
        own: usize,
        count: usize,
        align: usize,
    ) -> Result<SmallRun<'_>, AllocError> {
        self.give_all_ahead();
        for pool in 0..self.pools.len() {
            // Each turn takes a block away from the pool; its own CPU adds to it only what a purge has made free.
            while let Some(block) = self.take_fitting(pin, pool, own, count) {
                self.make_current(pin, own, block);
                if let Some(run) = self.take_from(block, pin, count, align) {
                    return Ok(run);
                }
                // It is in this CPU's pool now, and its runs are not aligned well enough.
                if pool == own {
                    break;
                }
            }
        }
        for block in self.pools.iter().filter_map(|pool| pool.current.get(pin)) {
            if let Some(run) = self.take_from(block, pin, count, align) {
                return Ok(run);
            }
        }
        Err(AllocError::OutOfAddressSpace)
    }

    /// Takes a block that has a free run of `room` pages out of the bins of pool `from`, to be the
    /// current one of pool `to`, one of this CPU.
    fn take_fitting<'a>(&'a self, pin: &'a P::Pin, from: usize, to: usize, room: usize) -> Option<&'a Block> {
        let mut bins = self.pools[from].bins.lock(pin);
        let block = bins.take_fitting(self, room)?;
        // Said under the pool's lock, so that nobody lists it meanwhile.
        block.pages.lock(pin).listed = Listed::Current;
        block.set_role(Role::Small { pool: to as u16 });
        Some(block)
    }

    fn make_current(&self, pin: &P::Pin, pool: usize, block: &Block) {
        let before = self.pools[pool].current.swap(Some(block));
        if let Some(before) = before.filter(|before| before.number() != block.number()) {
            self.settle(pin, before, |pages| pages.listed = Listed::No);
        }
    }

    /// Takes a free block from the arena, to be the current one of the pool that its role is to name.
    fn open_small_block(&self) -> Result<&Block, AllocError> {
        let blocks = self.shared_blocks() as usize;
        let number = self.open_blocks(0, blocks, blocks, None)?;
        let linked = self.link_leaf(number);
        let pin = self.platform.pin();
        match linked {
            Ok(block) => {
                let mut pages = block.pages.lock(&pin);
                *pages = Pages::new();
                pages.listed = Listed::Current;
                Ok(block)
            }
            Err(error) => {
                self.arena.free(&pin, number, blocks);
                Err(error)
            }
        }
    }

    /// Keeps a flushed frame for the next page that has none; gives the one that was kept so far back.
    #[inline(never)]
    pub(crate) fn keep_spare(&self, cpu: usize, frame: Frame) {
        self.platform.give_frames(self.pools[cpu].spare.swap(Some(frame)).into_iter());
    }

    /// The frame that was kept so.
    #[inline]
    pub(crate) fn take_spare(&self, cpu: usize) -> Option<Frame> {
        let spare = &self.pools[cpu].spare;
        if spare.is_some() { spare.swap(None) } else { None }
    }

    /// How many frames are kept so.
    pub(crate) fn spares(&self) -> usize {
        self.pools.iter().filter(|pool| pool.spare.is_some()).count()
    }

    /// Blocks that a shared block takes from the arena.
    pub(crate) fn shared_blocks(&self) -> u32 {
        match self.policy.guards {
            GuardPolicy::BehindAreas => 1,
            GuardPolicy::BehindBlocks => 2,
        }
    }

    /// First address of a page of the range.
    #[inline]
    pub(crate) fn page_address(&self, page: usize) -> usize {
        self.range.start + page * PAGE_SIZE
    }

    /// First address of page `page` of block `number`.
    #[inline]
    pub(crate) fn address(&self, number: usize, page: usize) -> usize {
        page_address(self.range.start + number * (BLOCK_PAGES * PAGE_SIZE), page)
    }
}
