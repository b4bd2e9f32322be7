//! A purge: what waits for a flush is flushed and becomes free.
//!
//! A purge takes the lists of all CPUs. Each block's dirty pages become *flushing*. There is one flush: page
//! by page if they are few, otherwise of everything. Then the flushing pages become free, and freed runs of
//! blocks are cached, or go back to the arena, and their frames and tables to the machine. What is unmapped
//! meanwhile waits for the next purge.

use super::{Reclaim, ranges::Ranges};
use crate::{
    BLOCK_PAGES, Event, Forbid, Platform, PurgePolicy, Reach, Stamp,
    atomic::{Ordering, fence},
    blocks::{Block, Role},
    page_table::flush::Unflushed,
    types::{Caller, Owner},
};

impl<P: Platform> Reclaim<P> {
    /// Flushes what waits, whatever CPU it disturbs and however short it waited: how many pages became free. What others
    /// free meanwhile goes on waiting. The caller has the turn.
    pub(super) fn purge_waiting(&self, caller: Caller) -> usize {
        if self.pending().is_empty() {
            0
        } else {
            self.quarantine.lift(|| self.purge_now(Reach::Everyone, caller))
        }
    }

    /// Purges. The caller has the turn.
    pub(super) fn purge_now(&self, reach: Reach, caller: Caller) -> usize {
        if !self.base().tunables.modes.trace_purges() {
            return self.purge_lists(reach, caller);
        }
        // Both or none, though the instance may be traced from now on, or no more.
        self.platform().trace(Event::PurgeBegin { pages: self.pending().lazy_pages(), caller });
        let pages = self.purge_lists(reach, caller);
        self.platform().trace(Event::PurgeEnd { pages });
        pages
    }

    fn purge_lists(&self, reach: Reach, caller: Caller) -> usize {
        let pending = self.pending();
        let number = self.turn.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let _unbroken = (self.base().policy.purge == PurgePolicy::Unbroken).then(|| self.platform().pin());
        self.areas.retire_unmapped_here();
        self.quarantine.begin_purge(self.retired());
        // What is freed is purged at once.
        pending.take_deferred(|address, entry| {
            self.areas.free_claimed(address, Owner::Area, entry).leave_to_caller()
        });
        pending.take_lists();
        let mut ranges = Ranges::new(self.base().flush_ceiling());
        let mut last = Stamp::NEVER;
        let mut pages = 0;
        for (stamp, freed) in pending.look(|pin, block| self.begin_flush(pin, block, &mut ranges)) {
            last = last.max(stamp);
            pages += freed;
        }
        let all = last != Stamp::NEVER && self.flush(&ranges, last, reach, caller);
        for (freed, run) in pending.visit(|pin, block| self.end_flush(pin, block, all)) {
            pages += freed;
            if let Some((first, blocks, scattered)) = run {
                self.areas.reclaim_blocks(first, blocks, scattered);
                self.turn.blocks.fetch_add(blocks as u64, Ordering::Relaxed);
            }
            if self.base().policy.purge == PurgePolicy::Yielding {
                self.platform().pause();
            }
        }
        pending.uncount(pages);
        self.turn.purged.fetch_add(pages as u64, Ordering::Relaxed);
        self.quarantine.end_purge(last, self.retired());
        pending.hold(if self.quarantine.goes_on() { pending.lazy_pages() } else { 0 });
        // It may have been ended meanwhile. Either that is seen here, or who has ended it holds nothing after this.
        fence(Ordering::SeqCst);
        if !self.quarantine.goes_on() {
            pending.hold(0);
        }
        self.turn.finished.store(number, Ordering::SeqCst);
        // As many as a directory maps: one may be empty now. Which CPUs are isolated is not asked later.
        let freed = self.turn.blocks.load(Ordering::Relaxed);
        if freed >= BLOCK_PAGES as u64 && !self.platform().shootdown().has_isolated() {
            self.turn.blocks.store(0, Ordering::Relaxed);
            self.release_directories(caller);
        }
        pages
    }

    /// Pages that were retired since the instance was made.
    fn retired(&self) -> u64 {
        self.turn.purged.load(Ordering::Relaxed).saturating_add_signed(self.pending().lazy_pages())
    }

    /// What is dirty in a block is to be flushed: since when, and how many pages became free because
    /// an isolated CPU flushed since the last purge.
    fn begin_flush(&self, pin: &P::Pin, block: &Block, ranges: &mut Ranges) -> (Stamp, usize) {
        let shootdown = self.platform().shootdown();
        let mut pages = block.pages.lock(pin);
        let role = block.role();
        let forbid = forbid_in(role);
        // Freed runs have no pages to count; their stamp is kept here all the same.
        let since = pages.flushing_since();
        if !role.has_pages() && since != Stamp::NEVER && shootdown.is_flushed(since, forbid) {
            return (Stamp::NEVER, 0);
        }
        let freed =
            pages.end_flush(|stamp| shootdown.is_flushed(stamp, forbid) && self.quarantine.has_passed(stamp));
        if role.has_pages() && pages.stale() == 0 {
            // What was cut off an area, say, and came back.
            return (Stamp::NEVER, freed);
        }
        // What is dirty is flushed now, and begins to wait when what waits is gone.
        let since = pages.flushing_since();
        if role.has_pages() && since != Stamp::NEVER && !self.quarantine.has_passed(since) {
            return (shootdown.stamp(), freed);
        }
        if forbid == Forbid::Speculation {
            ranges.forbid = forbid;
        }
        if cfg!(debug_assertions)
            && let Some(foreign) = self.blocks().foreign_page(block, &pages)
        {
            panic!("{foreign}");
        }
        // Taken under the lock: all that is dirty was unmapped before.
        let stamp = shootdown.stamp();
        pages.begin_flush(stamp);
        let address = |page| self.base().span.address(block.number(), page);
        match role {
            Role::Freed { scattered: true, .. } => ranges.add(address(0), 1),
            Role::Freed { blocks, .. } => ranges.add(address(0), blocks as usize * BLOCK_PAGES),
            Role::Cached { pages, .. } => ranges.add(address(0), pages),
            // Nothing is looked for any more once everything will be flushed.
            _ => {
                let mut runs = pages.runs_to_flush();
                while ranges.are_few()
                    && let Some((first, end)) = runs.next()
                {
                    ranges.add(address(first), end - first);
                }
            }
        }
        (stamp, freed)
    }

    /// Whether every CPU forgot the ranges, which are all that the purge has. If not, the stamps tell
    /// which blocks have to wait.
    fn flush(&self, ranges: &Ranges, stamp: Stamp, reach: Reach, caller: Caller) -> bool {
        let platform = self.platform();
        let _pin = platform.pin();
        let shootdown = platform.shootdown();
        let spares = reach == Reach::Considerate && shootdown.has_isolated() && !platform.broadcasts();
        let exact = ranges.exact().filter(|_| !spares && !self.quarantine.is_on());
        self.base().trace_purging(|| Event::Flush { pages: exact.map(|_| ranges.pages), caller });
        match exact {
            Some(exact) => {
                shootdown.flush_pages(platform, exact, ranges.forbid);
                true
            }
            None => shootdown.round(platform, stamp, reach, ranges.forbid),
        }
    }

    /// What is flushed in a block becomes free: how many pages did. The rest waits on. A freed run, which is to be
    /// reclaimed, is returned by its first block, how many these are, and whether frames are scattered over them.
    fn end_flush(&self, pin: &P::Pin, block: &Block, all: bool) -> (usize, Option<(usize, usize, bool)>) {
        let role = block.role();
        let is_flushed = |stamp| all || self.platform().shootdown().is_flushed(stamp, forbid_in(role));
        let flushed = |stamp| self.quarantine.has_passed(stamp) && is_flushed(stamp);
        let whole_is_flushed = || flushed(block.pages.lock(pin).flushing_since());
        let (freed, waits) = match role {
            Role::Freed { .. } | Role::Cached { .. } if !whole_is_flushed() => (0, true),
            Role::Freed { blocks, scattered } => {
                let blocks = blocks as usize;
                let freed = if scattered { 0 } else { blocks * BLOCK_PAGES };
                return (freed, Some((block.number(), blocks, scattered)));
            }
            Role::Cached { pages, cpu, .. } => {
                (self.areas.put_cached(pin, block, pages, cpu) * BLOCK_PAGES, false)
            }
            Role::Congruent { .. } | Role::Leaving => self.areas.settle_congruent(pin, block, flushed),
            _ => self.areas.pools.settle(pin, block, |pages| pages.end_purge(flushed)),
        };
        if waits {
            self.pending().push(pin, block);
        }
        (freed, None)
    }

    /// Makes every CPU forget what was unmapped before this call, isolated ones too.
    pub fn unmap_aliases(&self, caller: Caller) {
        self.base().trace_purging(|| Event::UnmapAliases { caller });
        self.areas.retire_unmapped_here();
        // Before the lists are looked at, which what leaves a magazine enters first.
        let others_have_some = self.areas.may_be_unmapped_elsewhere();
        // Or another thread purges, and the caller must not wait for it.
        if self.purge(Reach::Everyone, caller).is_none() || others_have_some {
            Unflushed::new((), self.base().span.range.clone()).flush(self.base(), caller);
        }
    }
}

/// What CPUs must not do any more in a block before what it was may be another's. Only freed runs give page tables
/// back.
fn forbid_in(role: Role) -> Forbid {
    if matches!(role, Role::Freed { .. }) { Forbid::Speculation } else { Forbid::Use }
}
