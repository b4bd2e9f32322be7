//! A CPU's supply of pages from blocks of small areas.
//!
//! A pool has one current block, which only its CPU allocates from, and bins of partly free blocks,
//! by the log2 of their longest free run. A block that is full is in no list; a free that makes
//! room in it, from whatever CPU, lists it again. A block that becomes entirely free, and is not
//! current, goes back to the arena.
//!
//! Locks: the block's for each allocation and free; the pool's, before it, only when a block
//! changes its bin, which is once for each doubling of its longest free run.

use crate::{
    AllocError, Vmalloc,
    block::{Block, Listed, NONE, Pages, Role},
    platform::{BLOCK_PAGES, CpuPin, PAGE_SIZE, Platform},
    tables::page_address,
};
use core::sync::atomic::{AtomicU32, Ordering};
use spin::Mutex;

/// log2 of the longest free run: 0 to 8; a block with a run of 512 is entirely free.
const BINS: usize = 9;

/// See the module's documentation.
pub(crate) struct Pool {
    /// Number of the current block, or [`NONE`]. Changed only by the pool's own CPU, pinned.
    current: AtomicU32,
    bins: Mutex<Bins>,
}

/// First block of each bin.
struct Bins([u32; BINS]);

impl Pool {
    pub const fn new() -> Self {
        Self { current: AtomicU32::new(NONE), bins: Mutex::new(Bins([NONE; BINS])) }
    }
}

/// Pages of a block that belong to the caller.
pub(crate) struct SmallRun<'a> {
    pub block: &'a Block,
    pub number: usize,
    /// First page in the block.
    pub first: usize,
}

impl<P: Platform> Vmalloc<P> {
    /// Takes a run of `count` pages, less than a block, aligned to `align` pages, at most half a block.
    #[inline]
    pub(crate) fn take_pages(&self, count: usize, align: usize) -> Result<SmallRun<'_>, AllocError> {
        let pin = self.platform.pin();
        let number = self.pools[pin.cpu()].current.load(Ordering::Relaxed);
        if number != NONE
            && let Some(block) = self.table.get(number as usize)
            && let Some(first) = block.pages.lock().take(count, align)
        {
            return Ok(SmallRun { block, number: number as usize, first });
        }
        self.take_pages_elsewhere(pin, count, align)
    }

    /// The current block has no such run: makes another one current.
    #[cold]
    fn take_pages_elsewhere(
        &self,
        pin: P::Pin,
        count: usize,
        align: usize,
    ) -> Result<SmallRun<'_>, AllocError> {
        let cpu = pin.cpu();
        let pool = &self.pools[cpu];
        let found = pool.bins.lock().take_fitting(self, count + align - 1);
        let number = match found {
            Some(number) => number,
            None => self.open_small_block(cpu as u16)?,
        };
        let block = self.block(number);
        let Some(first) = block.pages.lock().take(count, align) else {
            unreachable!("block {number} was found with room for {count} pages");
        };
        let before = pool.current.swap(number as u32, Ordering::Relaxed);
        if before != NONE {
            self.list_again(before as usize, cpu, Some(Listed::Current));
        }
        Ok(SmallRun { block, number, first })
    }

    /// Gives back `count` pages from `first` that every CPU has flushed.
    #[inline]
    pub(crate) fn give_pages(&self, number: usize, block: &Block, first: usize, count: usize) {
        let _pin = self.platform.pin();
        let mut pages = block.pages.lock();
        pages.give(first, count);
        if pages.listed == Listed::Current || !pages.belongs_higher(first) {
            return;
        }
        drop(pages);
        if let Role::Small { pool } = block.role() {
            self.list_again(number, pool.into(), None);
        }
    }

    /// Puts a block where its longest free run says, or back into the arena if all of it is free.
    /// `retire`: only if it is still the current block, which it stops to be.
    #[cold]
    fn list_again(&self, number: usize, cpu: usize, retire: Option<Listed>) {
        let block = self.block(number);
        let mut bins = self.pools[cpu].bins.lock();
        // Under the pool's lock the block cannot leave the pool; it may have done so just before.
        if block.role() != (Role::Small { pool: cpu as u16 }) {
            return;
        }
        let mut pages = block.pages.lock();
        if (pages.listed == Listed::Current) != (retire == Some(Listed::Current)) {
            return;
        }
        if let Listed::Bin(bin) = pages.listed {
            bins.unlink(self, number, bin);
        }
        if pages.all_free() {
            pages.listed = Listed::No;
            block.set_role(Role::Unused);
            drop((pages, bins));
            self.close_block(number);
            return;
        }
        pages.listed = match pages.longest_run().checked_ilog2() {
            None => Listed::No,
            Some(bin) => {
                bins.link(self, number, bin as u8);
                Listed::Bin(bin as u8)
            }
        };
    }

    /// Takes a free block from the arena, to be the current one of pool `pool`.
    fn open_small_block(&self, pool: u16) -> Result<usize, AllocError> {
        let number = self.open_blocks(1, 1, None)?;
        match self.link_leaf(number) {
            Ok(block) => {
                block.pages.lock().listed = Listed::Current;
                block.set_role(Role::Small { pool });
                Ok(number)
            }
            Err(error) => {
                self.arena.free(number, 1);
                Err(error)
            }
        }
    }

    /// Makes the pools let go of current blocks in which nothing is allocated.
    ///
    /// Only when no other CPU allocates at the time.
    pub(crate) fn retire_current_blocks(&self) {
        for (cpu, pool) in self.pools.iter().enumerate() {
            let number = pool.current.swap(NONE, Ordering::Relaxed);
            if number != NONE {
                self.list_again(number as usize, cpu, Some(Listed::Current));
            }
        }
    }

    /// First address of page `page` of block `number`.
    #[inline]
    pub(crate) fn address(&self, number: usize, page: usize) -> usize {
        page_address(self.range.start + number * (BLOCK_PAGES * PAGE_SIZE), page)
    }
}

impl Pages {
    /// Whether the free run around `page` deserves a higher bin than the block is in.
    fn belongs_higher(&self, page: usize) -> bool {
        match self.listed {
            Listed::Current => false,
            Listed::No => true,
            Listed::Bin(bin) => self.all_free() || self.run_around(page).ilog2() > bin.into(),
        }
    }
}

impl Bins {
    /// Takes out a block that surely has a free run of `pages` pages, to be the current one.
    fn take_fitting<P: Platform>(&mut self, vmalloc: &Vmalloc<P>, pages: usize) -> Option<usize> {
        let lowest = pages.next_power_of_two().ilog2() as usize;
        let bin = (lowest..BINS).find(|&bin| self.0[bin] != NONE)?;
        let number = self.0[bin] as usize;
        self.unlink(vmalloc, number, bin as u8);
        // Said under the pool's lock, so that no free from another CPU lists it meanwhile.
        vmalloc.block(number).pages.lock().listed = Listed::Current;
        Some(number)
    }

    fn link<P: Platform>(&mut self, vmalloc: &Vmalloc<P>, number: usize, bin: u8) {
        let head = &mut self.0[usize::from(bin)];
        let block = vmalloc.block(number);
        block.previous.store(NONE, Ordering::Relaxed);
        block.next.store(*head, Ordering::Relaxed);
        if *head != NONE {
            vmalloc.block(*head as usize).previous.store(number as u32, Ordering::Relaxed);
        }
        *head = number as u32;
    }

    fn unlink<P: Platform>(&mut self, vmalloc: &Vmalloc<P>, number: usize, bin: u8) {
        let block = vmalloc.block(number);
        let (previous, next) = (block.previous.load(Ordering::Relaxed), block.next.load(Ordering::Relaxed));
        match previous {
            NONE => self.0[usize::from(bin)] = next,
            _ => vmalloc.block(previous as usize).next.store(next, Ordering::Relaxed),
        }
        if next != NONE {
            vmalloc.block(next as usize).previous.store(previous, Ordering::Relaxed);
        }
    }
}
