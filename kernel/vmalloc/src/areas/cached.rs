//! Runs that were freed and are kept, with their tables and frames, for the next area of as many blocks.
//!
//! A run that comes and goes would give hundreds of frames to the machine and take them again each time, and
//! clear its tables twice. Kept, it is mapped again as small areas are: one store a page. Each CPU keeps runs
//! that were freed on it, and takes those of others when it has none. The place is booked before the run waits for its flush, so that its tables need not be
//! unlinked, which would take another one.
//!
//! In a kept run, frames are in the entries of its first pages, as many as the area had, and nothing behind.

use crate::{
    AllocError, Vmalloc,
    areas::run::blocks_for,
    blocks::block::{Block, Role},
    lock::{Lock, Locked},
    page_table::entries::unmap_to_last,
    page_table::entry::{Entry, GuardInfo},
    pending::list::NONE,
    platform::{BLOCK_PAGES, CpuPin, LockClass, Platform, Table},
    tlb::cpus::MAX_CPUS,
    types::request::{Backing, Shape},
};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Blocks of the longest run that is kept: 32 MiB.
const LONGEST: usize = 16;

/// A CPU's kept runs.
pub(crate) struct KeptRuns {
    runs: Lock<Runs>,
    /// Blocks of runs that are here, or will be when they are flushed.
    booked: AtomicUsize,
}

/// The first block of the last run of each length that was put here; its `next` leads to the one before.
struct Runs([u32; LONGEST]);

impl Locked for Runs {
    const CLASS: LockClass = LockClass::Runs;
}

impl KeptRuns {
    pub const fn new() -> Self {
        Self { runs: Lock::new(Runs([NONE; LONGEST])), booked: AtomicUsize::new(0) }
    }
}

impl<P: Platform> Vmalloc<P> {
    /// Unmaps a run that owns its frames and whose first entry is claimed, to keep it once it is flushed.
    /// `false`: it is too long, or too short to be worth its blocks, or there are enough, and nothing was done.
    pub(crate) fn keep_run(&self, first: usize, count: usize, huge: u32) -> bool {
        let half = BLOCK_PAGES / 2 - 1;
        let is_long = || count > 1 || Entry(self.run_entry(first, half).load(Ordering::Relaxed)).is_present();
        if count > LONGEST || huge > 0 || !is_long() {
            return false;
        }
        let cpu = self.platform.pin().cpu() % MAX_CPUS;
        if !self.book(&self.kept_runs[cpu], count) {
            return false;
        }
        let pages = self.unmap_run(first, count);
        self.set_kept(first, pages, cpu, false);
        self.retire_run(first, count);
        true
    }

    /// Unmaps the pages of a run behind its first one, and removes its guard: how many pages it had.
    fn unmap_run(&self, first: usize, count: usize) -> usize {
        let mut pages = 1;
        for index in 0..count {
            let rest = &self.run_leaf(first + index)[usize::from(index == 0)..];
            // An area may end where a block does, and its guard be all there is in the next.
            if Entry(rest[0].load(Ordering::Relaxed)).is_guard() {
                break;
            }
            pages += unmap_to_last(rest);
        }
        self.run_entry(first, pages).store(Entry::UNUSED.0, Ordering::Relaxed);
        pages
    }

    fn set_kept(&self, first: usize, pages: usize, cpu: usize, flushed: bool) {
        for index in 0..blocks_for(pages) {
            let pages = pages.saturating_sub(index * BLOCK_PAGES);
            self.block(first + index).set_role(Role::Kept { pages, cpu, flushed });
        }
    }

    /// Keeps a run from its block `block` on, now that it is flushed: how many blocks.
    pub(crate) fn keep_flushed(&self, pin: &P::Pin, block: &Block, pages: usize, cpu: usize) -> usize {
        self.set_kept(block.number(), pages, cpu, true);
        let count = blocks_for(pages);
        let runs = &mut self.kept_runs[cpu].runs.lock(pin).0;
        block.next.store(runs[count - 1], Ordering::Relaxed);
        runs[count - 1] = block.number() as u32;
        count
    }

    /// Takes the run of `count` blocks that was kept last.
    fn take_kept(&self, pin: &P::Pin, cpu: usize, count: usize) -> Option<&Block> {
        let kept = self.kept_runs.get(cpu)?;
        let runs = &mut kept.runs.lock(pin).0;
        let first = runs.get_mut(count - 1).filter(|first| **first != NONE)?;
        let block = self.block(*first as usize);
        *first = block.next.load(Ordering::Relaxed);
        self.unbook(kept, count);
        Some(block)
    }

    /// The same of this CPU's, or else of another's: who frees need not be who allocates.
    fn take_any_kept(&self, pin: &P::Pin, count: usize) -> Option<&Block> {
        let own = pin.cpu();
        self.take_kept(pin, own, count).or_else(|| {
            let others = (0..MAX_CPUS).filter(|&cpu| cpu != own);
            let has_some = |cpu: &usize| self.kept_runs[*cpu].booked.load(Ordering::Relaxed) >= count;
            others.filter(has_some).find_map(|cpu| self.take_kept(pin, cpu, count))
        })
    }

    /// Makes an area of a kept run, if there is one that it may have.
    pub(crate) fn allocate_kept(
        &self,
        shape: &Shape<'_>,
        guard: GuardInfo,
    ) -> Option<Result<usize, AllocError>> {
        let plain = matches!(shape.backing, Backing::Owned { huge: false });
        let count = blocks_for(shape.pages);
        if !plain || shape.align > BLOCK_PAGES || shape.within.is_some() || count > LONGEST {
            return None;
        }
        let pin = self.platform.pin();
        let cpu = pin.cpu();
        let block = self.take_any_kept(&pin, count)?;
        drop(pin);
        Some(self.refill_run(block, shape, guard, cpu))
    }

    fn refill_run(
        &self,
        block: &Block,
        shape: &Shape<'_>,
        guard: GuardInfo,
        cpu: usize,
    ) -> Result<usize, AllocError> {
        let Role::Kept { pages: kept, .. } = block.role() else { unreachable!("a kept run says so") };
        let (first, count) = (block.number(), blocks_for(shape.pages));
        for index in 0..count {
            let leaf = self.run_leaf(first + index);
            let in_block = |pages: usize| pages.saturating_sub(index * BLOCK_PAGES).min(BLOCK_PAGES);
            let (wanted, kept) = (in_block(shape.pages), in_block(kept));
            if kept > wanted {
                self.give_kept_frames(&leaf[wanted..kept]);
            }
            if !self.refill(&leaf[..wanted], shape.attributes, cpu) {
                (first..first + count).for_each(|number| self.block(number).set_role(Role::Unused));
                self.free_blocks(first, count, first + count);
                return Err(AllocError::OutOfFrames);
            }
        }
        self.finish_run(first, shape.pages, guard);
        Ok(self.address(first, 0))
    }

    /// Takes all kept runs out of use.
    pub(crate) fn close_kept_runs(&self) {
        for (cpu, count) in (0..MAX_CPUS).flat_map(|cpu| (1..=LONGEST).map(move |count| (cpu, count))) {
            // Ends: only a purge adds to them, of which there is one at a time.
            loop {
                let pin = self.platform.pin();
                let Some(first) = self.take_kept(&pin, cpu, count).map(Block::number) else { break };
                for number in first..first + count {
                    self.block(number).set_role(Role::Freed { blocks: 1, scattered: true });
                    self.close_block(&pin, number);
                }
            }
        }
    }

    fn book(&self, kept: &KeptRuns, count: usize) -> bool {
        let here = kept.booked.fetch_add(count, Ordering::Relaxed) + count;
        let all = self.run_blocks.fetch_add(count, Ordering::Relaxed) + count;
        let fits = self.may_keep(here, all);
        if !fits {
            self.unbook(kept, count);
        }
        fits
    }

    fn unbook(&self, kept: &KeptRuns, count: usize) {
        kept.booked.fetch_sub(count, Ordering::Relaxed);
        self.run_blocks.fetch_sub(count, Ordering::Relaxed);
    }

    /// Whether a CPU may keep `here` blocks, with all they need to be used again, and all CPUs together `all`. Each
    /// may keep its part of the limit in any case; so all of them keep less than twice as many.
    pub(crate) fn may_keep(&self, here: usize, all: usize) -> bool {
        let limit = self.kept_limit();
        all <= limit || here <= limit / self.platform.shootdown().online_count()
    }

    /// Blocks that all CPUs keep: twice what is free when as much as may waits for a flush is purged, because
    /// blocks are seldom full, and CPUs not all as fast; but not more than an eighth of the memory.
    pub(crate) fn kept_limit(&self) -> usize {
        4 * self.lazy_max().min(self.platform.total_frames() / 32) / BLOCK_PAGES
    }

    fn run_leaf(&self, number: usize) -> &Table {
        match self.block(number).leaf(&self.platform) {
            Some(leaf) => leaf,
            None => unreachable!("block {number} of a kept run has a leaf table"),
        }
    }
}
