//! Cache of freed multi-block areas.
//!
//! Without it, a loop that allocates and frees one large area would return hundreds of frames to the platform and
//! request them again every time, and would clear its leaf tables twice. A cached run keeps both, so mapping it again
//! costs one store per page. Each CPU caches runs that were freed on it, and takes those of others when it has none.
//!
//! A place in the cache is reserved before the run is flushed. If one is free, the tables stay linked and one flush of
//! the pages suffices; otherwise the tables are unlinked with the pages, and one flush serves both. When the caches are
//! full the new run is not cached; no cached run is ever thrown out for it. The entries of a cached run's first pages,
//! as many as the area had, have its frames; those behind are unused. Lock: a CPU's cache, to put a run there or take
//! one.

use super::{
    Areas, Attempt, Backing, Shape,
    cache::{CachedRuns, LONGEST},
};
use crate::{
    BLOCK_PAGES, CpuPin, MAX_CPUS, Platform,
    blocks::{Block, NO_BLOCK, Role},
    page_table::unmap_to_last,
    pending::Pressure,
    span::run_blocks,
};
use core::{ops::Range, sync::atomic::Ordering};

impl<P: Platform> Areas<P> {
    /// Unmaps a run that owns its frames and whose first entry is claimed, to cache it once it is flushed. `None`: it is
    /// too long, or too short to be worth its blocks, or the cache is full, and nothing was done.
    pub(super) fn cache_run(&self, first: usize, count: usize, huge: u32) -> Option<Pressure> {
        let (pin, half) = (self.platform().pin(), BLOCK_PAGES / 2 - 1);
        let is_long = || count > 1 || self.blocks().run_slot(first, half, &pin).is_present();
        if count > LONGEST || huge > 0 || !is_long() {
            return None;
        }
        let cpu = self.base().records.home(pin.cpu())?;
        drop(pin);
        if !self.reserve(cpu, count) {
            return None;
        }
        let pages = self.unmap_run(first, count);
        self.set_cached(first, pages, cpu, false);
        let pin = self.platform().pin();
        Some(self.pending().retire_run(&pin, self.blocks().block(first, &pin), count))
    }

    /// Unmaps the pages of a run behind its first one, and removes its guard: how many pages it had.
    fn unmap_run(&self, first: usize, count: usize) -> usize {
        let mut pages = 1;
        for index in 0..count {
            let leaf = self.blocks().leaf_of(first + index);
            let rest = &leaf[usize::from(index == 0)..];
            // An area may end where a block does, and its guard be all there is in the next.
            if rest[0].get().is_guard() {
                break;
            }
            pages += unmap_to_last(rest);
        }
        self.blocks().run_slot(first, pages, &self.platform().pin()).set_unused();
        pages
    }

    fn set_cached(&self, first: usize, pages: usize, cpu: usize, flushed: bool) {
        for index in 0..run_blocks(pages) {
            let pages = pages.saturating_sub(index * BLOCK_PAGES);
            self.blocks().set_role(first + index, Role::Cached { pages, cpu, flushed });
        }
    }

    /// Puts a run of `pages` pages from its block `block` on, now that it is flushed, into the cache of `cpu`: how many
    /// blocks.
    pub fn put_cached(&self, pin: &P::Pin, block: &Block, pages: usize, cpu: usize) -> usize {
        self.set_cached(block.number(), pages, cpu, true);
        let count = run_blocks(pages);
        let last = &mut self.cached.of(cpu).runs.lock(pin).0[count - 1];
        block.next.store(*last, Ordering::Relaxed);
        *last = block.number() as u32;
        count
    }

    /// Takes the run of `count` blocks that was put last into the cache of `cpu`. Returns its first block.
    fn take_cached(&self, pin: &P::Pin, cpu: usize, count: usize) -> Option<usize> {
        let last = &mut self.cached.of(cpu).runs.lock(pin).0[count - 1];
        let first = (*last != NO_BLOCK).then_some(*last as usize)?;
        *last = self.blocks().block(first, pin).next.load(Ordering::Relaxed);
        self.unreserve(cpu, count);
        Some(first)
    }

    /// Takes a cached run for an area, if there is one that it may have: of this CPU's, or else of another's, as who frees
    /// need not be who allocates. Returns its first block, and the CPU that this runs on.
    pub(super) fn take_cached_for(&self, shape: &Shape<'_>) -> Option<(usize, usize)> {
        let plain = matches!(shape.backing, Backing::Owned { huge: false }) && shape.below == 0;
        let count = run_blocks(shape.pages);
        if !plain || shape.align > BLOCK_PAGES || shape.within.is_some() || count > LONGEST {
            return None;
        }
        let pin = self.platform().pin();
        let own = pin.cpu();
        // This CPU's cache is there for what it frees.
        self.base().records.make_own::<P>(&pin, self.platform());
        let first = self.take_cached(&pin, own, count).or_else(|| {
            let others = self.cached.owned(0..MAX_CPUS).filter(|&(cpu, _)| cpu != own);
            let has_some = |runs: &CachedRuns| runs.reserved.load(Ordering::Relaxed) >= count;
            others.filter(|(_, runs)| has_some(runs)).find_map(|(cpu, _)| self.take_cached(&pin, cpu, count))
        })?;
        Some((first, own))
    }

    /// Maps the pages of an area in a cached run, which was taken for it and begins with block `first`. Returns `false` if
    /// frames ran out; the run was freed then.
    pub(super) fn refill_run(&self, shape: &Shape<'_>, attempt: Attempt, first: usize, cpu: usize) -> bool {
        let (blocks, count) = (self.blocks(), run_blocks(shape.pages));
        for index in 0..count {
            let (leaf, role) = blocks.with(first + index, |block| (blocks.leaf(block), block.role()));
            let Role::Cached { pages: cached, .. } = role else { unreachable!("a cached run says so") };
            let wanted = (shape.pages - index * BLOCK_PAGES).min(BLOCK_PAGES);
            if cached > wanted {
                self.give_cached_frames(&leaf[wanted..cached.min(BLOCK_PAGES)]);
            }
            if !self.refill(&leaf[..wanted], shape.attributes, attempt, cpu) {
                blocks.set_unused(first..first + count);
                self.free_blocks(first, count, first + count).leave_to_caller();
                return false;
            }
        }
        true
    }

    /// Takes the runs that these CPUs cache out of use.
    pub fn close_cached_runs(&self, cpus: Range<usize>) {
        let cpus = self.cached.owned(cpus).map(|(cpu, _)| cpu);
        for (cpu, count) in cpus.flat_map(|cpu| (1..=LONGEST).map(move |count| (cpu, count))) {
            // Ends: only a purge adds to them, of which there is one at a time.
            loop {
                let pin = self.platform().pin();
                let Some(first) = self.take_cached(&pin, cpu, count) else { break };
                for block in (first..first + count).map(|number| self.blocks().block(number, &pin)) {
                    block.set_role(Role::Freed { blocks: 1, scattered: true });
                    self.pending().close(&pin, block);
                }
            }
        }
    }

    /// Reserves room for a run in the cache of `cpu`; `false`: the caches are full.
    fn reserve(&self, cpu: usize, count: usize) -> bool {
        let here = self.cached.of(cpu).reserved.fetch_add(count, Ordering::Relaxed) + count;
        let all = self.cached_blocks.fetch_add(count, Ordering::Relaxed) + count;
        let fits = self.pending().may_cache(here, all);
        if !fits {
            self.unreserve(cpu, count);
        }
        fits
    }

    fn unreserve(&self, cpu: usize, count: usize) {
        self.cached.of(cpu).reserved.fetch_sub(count, Ordering::Relaxed);
        self.cached_blocks.fetch_sub(count, Ordering::Relaxed);
    }
}
