//! A CPU's supplies of pages from blocks that areas share.
//!
//! It has two pools: one of blocks whose areas own their frames, so that free pages there keep frames
//! to be used again; one of blocks that show frames of others. Only when address space is short does
//! either take from the other.
//!
//! A pool has one current block, which its CPU allocates from, and bins of blocks with free pages, by
//! the log2 of their longest free run; those that are entirely free are in the last one, up to a
//! limit. A block in which nothing is free is in no bin; the purge that makes room in it lists it.
//! When neither the pool nor the arena has anything, it takes blocks from other pools.
//!
//! From the current block the CPU takes pages ahead (`ahead`), which it then hands out without a lock.
//!
//! Locks: the block's for what is not there, and for each free; the pool's, before it, only when a block is
//! listed.

use crate::{
    AllocError, Vmalloc,
    ahead::Ahead,
    block::{Block, BlockSlot, Role},
    cpus::MAX_CPUS,
    list::NONE,
    lock::{Lock, Locked},
    pages::{Listed, Pages},
    platform::{BLOCK_PAGES, CpuPin, Frame, LockClass, PAGE_SIZE, Platform, Table},
    policy::GuardPolicy,
    tables::page_address,
};
use core::{
    iter,
    sync::atomic::{AtomicU64, Ordering},
};

/// log2 of the longest free run: 0 to 9.
const BINS: usize = 10;
/// Bin of the blocks that are entirely free.
const EMPTY: u8 = 9;
const _: () = assert!(BLOCK_PAGES == 1 << EMPTY && BINS == EMPTY as usize + 1);

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
    current: BlockSlot,
    /// Pages of the current block, mostly, that the CPU has taken ahead.
    pub ahead: Ahead,
    /// Number of the frame that the page of the last guard page had kept; the next page that has none
    /// gets it. 0: none.
    spare: AtomicU64,
    bins: Lock<Bins>,
}

struct Bins {
    /// First block of each bin.
    first: [u32; BINS],
    /// Blocks in the last bin.
    empty: usize,
}

impl Locked for Bins {
    const CLASS: LockClass = LockClass::Pool;
}

impl Pool {
    pub const fn new() -> Self {
        Self {
            current: BlockSlot::new(),
            ahead: Ahead::new(),
            spare: AtomicU64::new(0),
            bins: Lock::new(Bins { first: [NONE; BINS], empty: 0 }),
        }
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

    /// The CPU's current block, if that is block `number`.
    #[inline(always)]
    pub(crate) fn near(&self, pin: &P::Pin, supply: Supply, number: usize) -> Option<&Block> {
        self.pool(pin, supply).current.get().filter(|block| block.number() == number)
    }

    /// Takes a run from the current block, and what is free behind it ahead.
    #[inline(always)]
    fn take_locked(&self, pin: &P::Pin, supply: Supply, count: usize, align: usize) -> Option<SmallRun<'_>> {
        let pool = self.pool(pin, supply);
        if !pool.ahead.is_empty() {
            self.give_ahead(pin, &pool.ahead);
        }
        let block = pool.current.get()?;
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
    fn take_from<'a>(
        &'a self,
        block: &'a Block,
        pin: &P::Pin,
        take: impl FnOnce(&mut Pages) -> Option<usize>,
    ) -> Option<SmallRun<'a>> {
        let first = take(&mut block.pages.lock(pin))?;
        let page = block.number() * BLOCK_PAGES + first;
        Some(SmallRun { page, leaf: self.small_leaf(block), keeps: true })
    }

    /// The current block has no such run: makes another one current.
    #[cold]
    fn take_pages_elsewhere(
        &self,
        pin: P::Pin,
        supply: Supply,
        count: usize,
        align: usize,
    ) -> Result<SmallRun<'_>, AllocError> {
        let own = supply.pool(pin.cpu());
        // Areas that grew may have left a block less room than its bin says.
        while let Some(block) = self.take_fitting(&pin, own, own, count + align - 1) {
            self.make_current(&pin, own, block);
            if let Some(run) = self.take_locked(&pin, supply, count, align) {
                return Ok(run);
            }
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
            while let Some(block) = self.take_fitting(pin, pool, own, count) {
                self.make_current(pin, own, block);
                if let Some(run) = self.take_from(block, pin, |pages| pages.take(count, align)) {
                    return Ok(run);
                }
                // It is in this CPU's pool now, and its runs are not aligned well enough.
                if pool == own {
                    break;
                }
            }
        }
        for block in self.pools.iter().filter_map(|pool| pool.current.get()) {
            if let Some(run) = self.take_from(block, pin, |pages| pages.take_current(count, align)) {
                return Ok(run);
            }
        }
        Err(AllocError::OutOfAddressSpace)
    }

    /// Takes a block that has a free run of `room` pages out of the bins of pool `from`, to be the
    /// current one of pool `to`, one of this CPU.
    fn take_fitting(&self, pin: &P::Pin, from: usize, to: usize, room: usize) -> Option<&Block> {
        let mut bins = self.pools[from].bins.lock(pin);
        let lowest = room.next_power_of_two().ilog2() as usize;
        let bin = (lowest..BINS).find(|&bin| bins.first[bin] != NONE)?;
        let number = bins.first[bin] as usize;
        bins.unlink(self, number, bin as u8);
        // Said under the pool's lock, so that nobody lists it meanwhile.
        let block = self.block(number);
        block.pages.lock(pin).listed = Listed::Current;
        block.set_role(Role::Small { pool: to as u16 });
        Some(block)
    }

    fn make_current(&self, pin: &P::Pin, pool: usize, block: &Block) {
        let before = self.pools[pool].current.swap(Some(block));
        if let Some(before) = before.filter(|before| before.number() != block.number()) {
            self.settle(pin, before.number(), |pages| pages.listed = Listed::No);
        }
    }

    /// Gives back `count` pages of a block, from its page `first`, that every CPU has flushed.
    pub(crate) fn give_pages(&self, number: usize, first: usize, count: usize) {
        let pin = self.platform.pin();
        self.settle(&pin, number, |pages| pages.give(first, count));
    }

    /// Changes a block of small areas so that pages may become free, then puts it where its longest
    /// free run says: into a bin, or out of use if all of it is free and there are such blocks enough.
    pub(crate) fn settle(&self, pin: &P::Pin, number: usize, change: impl FnOnce(&mut Pages)) {
        let block = self.block(number);
        let mut change = Some(change);
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
                bins.unlink(self, number, bin);
            }
            pages.listed = Listed::No;
            let Some(bin) = pages.longest_run().checked_ilog2() else { return };
            if bin as u8 == EMPTY && bins.empty >= self.empty_limit() {
                block.set_role(Role::Freed { blocks: self.shared_blocks(), scattered: true });
                drop((pages, bins));
                return self.close_block(pin, number);
            }
            bins.link(self, number, bin as u8);
            pages.listed = Listed::Bin(bin as u8);
            return;
        }
        unreachable!("block {number} holds pages of small areas");
    }

    /// Takes a free block from the arena, to be the current one of the pool that its role is to name.
    fn open_small_block(&self) -> Result<&Block, AllocError> {
        let blocks = self.shared_blocks() as usize;
        let number = self.open_blocks(blocks, blocks, None)?;
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
        let before = self.pools[cpu].spare.swap(frame.number(), Ordering::Relaxed);
        if before != 0 {
            self.platform.give_frames(iter::once(Frame::new(before)));
        }
    }

    /// The frame that was kept so.
    #[inline]
    pub(crate) fn take_spare(&self, cpu: usize) -> Option<Frame> {
        let spare = &self.pools[cpu].spare;
        if spare.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Some(spare.swap(0, Ordering::Relaxed)).filter(|&number| number != 0).map(Frame::new)
    }

    /// How many frames are kept so.
    pub(crate) fn spares(&self) -> usize {
        self.pools.iter().filter(|pool| pool.spare.load(Ordering::Relaxed) != 0).count()
    }

    /// Blocks that a shared block takes from the arena.
    fn shared_blocks(&self) -> u32 {
        match self.policy.guards {
            GuardPolicy::BehindAreas => 1,
            GuardPolicy::BehindBlocks => 2,
        }
    }

    /// Makes the pools let go of their current blocks.
    pub(crate) fn retire_current_blocks(&self) {
        let pin = self.platform.pin();
        for pool in &self.pools {
            self.give_ahead(&pin, &pool.ahead);
            if let Some(block) = pool.current.swap(None) {
                self.settle(&pin, block.number(), |pages| pages.listed = Listed::No);
            }
        }
    }

    /// Takes blocks that are entirely free out of use.
    pub(crate) fn close_empty_blocks(&self) {
        for pool in &self.pools {
            loop {
                let pin = self.platform.pin();
                let mut bins = pool.bins.lock(&pin);
                let number = bins.first[usize::from(EMPTY)];
                if number == NONE {
                    break;
                }
                bins.unlink(self, number as usize, EMPTY);
                let block = self.block(number as usize);
                block.pages.lock(&pin).listed = Listed::No;
                block.set_role(Role::Freed { blocks: self.shared_blocks(), scattered: true });
                drop(bins);
                self.close_block(&pin, number as usize);
            }
        }
    }

    /// Blocks, entirely free, that a pool keeps: its part of what a purge makes free at most.
    fn empty_limit(&self) -> usize {
        2 * self.lazy_max() / BLOCK_PAGES / self.platform.shootdown().online_count()
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

impl Bins {
    fn link<P: Platform>(&mut self, vmalloc: &Vmalloc<P>, number: usize, bin: u8) {
        let head = &mut self.first[usize::from(bin)];
        let block = vmalloc.block(number);
        block.previous.store(NONE, Ordering::Relaxed);
        block.next.store(*head, Ordering::Relaxed);
        if *head != NONE {
            vmalloc.block(*head as usize).previous.store(number as u32, Ordering::Relaxed);
        }
        *head = number as u32;
        self.empty += usize::from(bin == EMPTY);
    }

    fn unlink<P: Platform>(&mut self, vmalloc: &Vmalloc<P>, number: usize, bin: u8) {
        let block = vmalloc.block(number);
        let (previous, next) = (block.previous.load(Ordering::Relaxed), block.next.load(Ordering::Relaxed));
        match previous {
            NONE => self.first[usize::from(bin)] = next,
            _ => vmalloc.block(previous as usize).next.store(next, Ordering::Relaxed),
        }
        if next != NONE {
            vmalloc.block(next as usize).previous.store(previous, Ordering::Relaxed);
        }
        self.empty -= usize::from(bin == EMPTY);
    }
}
