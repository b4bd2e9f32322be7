//! Purging: what waits for a flush is flushed and becomes free.
//!
//! A purge takes the lists of all CPUs. Each block's dirty pages become *flushing*; one flush, of exact
//! ranges if they are few, of everything else; then the flushing pages become free, and freed runs of
//! blocks are kept, or go back to the arena, their frames and tables to the machine. What is unmapped meanwhile waits for
//! the next purge.
//!
//! One purge runs at a time. They are numbered, and who fails to allocate notes the number of the
//! last one that had begun: a later one, whoever ran it, has flushed what was unmapped before the
//! failure. So nobody gives up while a purge that may help is under way, and nobody repeats what
//! another one did.
//!
//! Who gives back directories or records takes the turn too, and holds free address space for a while. So an
//! allocation that ran out makes its last attempt with the turn (`room`).
//!
//! Who waits for the turn waits for others' purges, each of which ends: it has the lists that it took, as long as they
//! were then. Or for others' last attempts, each of which is one allocation long: its frames are taken, and filled with
//! zeros if that was asked for, so it may last as long as zeroing all memory. Whoever may not wait is refused meanwhile,
//! or leaves undone what needs the turn. Nobody is first in line, so a wait may be for more than one of them.
//!
//! Who frees finds that too much waits, but does not get the turn, or is to leave it to who has it: that is noted
//! (`missed`), and seen to by who gives the turn.

use crate::{
    Vmalloc,
    blocks::block::{Block, Role},
    page_table::flush::Ranges,
    pending::list::NONE,
    platform::{BLOCK_PAGES, Platform},
    tlb::shootdown::{Forbid, Reach, Stamp},
    types::policy::PurgePolicy,
};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Whose turn it is to purge, or to give back directories and records.
pub(crate) struct Turn {
    busy: AtomicBool,
    begun: AtomicU64,
    finished: AtomicU64,
    /// Blocks that went back to the arena since directories were looked at.
    blocks: AtomicU64,
    /// Whether who has the turn frees meanwhile.
    frees: AtomicBool,
    /// Whether somebody found that too much waits, and left it to who has the turn.
    missed: AtomicBool,
    /// Attempts that failed for want of room, and what they had held is free: but for those made with the turn.
    failures: AtomicU64,
}

/// The number of the last purge that had begun at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket(u64);

impl Turn {
    pub const fn new() -> Self {
        Self {
            busy: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            frees: AtomicBool::new(false),
            missed: AtomicBool::new(false),
            failures: AtomicU64::new(0),
        }
    }

    fn take(&self) -> bool {
        !self.busy.swap(true, Ordering::SeqCst)
    }

    fn give(&self) {
        self.busy.store(false, Ordering::SeqCst);
    }

    /// Notes that an attempt without the turn has failed: what it held is free again.
    pub fn note_failure(&self) {
        // Release: who sees the number finds what was given back.
        self.failures.fetch_add(1, Ordering::Release);
    }

    /// Attempts without the turn that failed so far.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// Leaves it to who has the turn to look how much waits, when it is given. `false`: nobody has it any more.
    pub fn leave_it(&self) -> bool {
        // All in one order: if the turn is still taken here, who has it gives it later, and looks for the note after
        // that.
        self.missed.store(true, Ordering::SeqCst);
        self.busy.load(Ordering::SeqCst)
    }
}

impl<P: Platform> Vmalloc<P> {
    /// Flushes what was unmapped and makes it free. Returns the pages of address space that became
    /// free. Waits for a purge that is under way, but for callers that may not; isolated CPUs are not
    /// interrupted, and what they may still reach goes on waiting.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn purge(&self) -> usize {
        self.assert_not_in_interrupt("purge");
        self.purge_reaching(Reach::Considerate).unwrap_or(0)
    }

    /// `None`: another thread purges, and the caller must not wait for it.
    pub(crate) fn purge_reaching(&self, reach: Reach) -> Option<usize> {
        self.in_turn(|| self.purge_now(reach))
    }

    /// Calls `work`, which does not ask for the turn itself, when nobody else has it. `None`: somebody has, and the
    /// caller must not wait for it.
    pub(crate) fn in_turn<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        // Ends: no turn lasts for ever; see the module's documentation.
        while !self.turn.take() {
            if !self.platform.pause() {
                return None;
            }
        }
        let done = work();
        self.give_turn();
        Some(done)
    }

    /// Purges unless somebody does; whether it did.
    pub(crate) fn try_purge(&self) -> bool {
        let turn = self.turn.take();
        if turn {
            self.purge_now(Reach::Considerate);
            self.give_turn();
        }
        turn
    }

    /// Gives the turn, and sees to what others left undone because it was taken.
    fn give_turn(&self) {
        self.turn.give();
        // Once: if too much waits after that, the next free that counts sees it.
        if self.turn.missed.swap(false, Ordering::SeqCst)
            && self.too_much_waits()
            && !self.platform.wake_purger()
            && self.turn.take()
        {
            self.purge_now(Reach::Considerate);
            self.turn.give();
        }
    }

    /// Calls `work`, which may free, for who has the turn: nobody is to purge, or to wait for a purge, because of that.
    pub(crate) fn while_freeing<T>(&self, work: impl FnOnce() -> T) -> T {
        self.turn.frees.store(true, Ordering::Relaxed);
        let done = work();
        self.turn.frees.store(false, Ordering::Relaxed);
        done
    }

    /// Whether who has the turn may add to what waits itself.
    pub(crate) fn is_turn_freeing(&self) -> bool {
        self.turn.frees.load(Ordering::Relaxed)
    }

    /// Purges that began so far.
    pub(crate) fn purges_begun(&self) -> u64 {
        self.turn.begun.load(Ordering::Relaxed)
    }

    /// For [`purge_since`](Self::purge_since): taken before what may fail.
    pub(crate) fn purge_ticket(&self) -> Ticket {
        Ticket(self.turn.begun.load(Ordering::SeqCst))
    }

    /// Returns when a purge is over that began after the ticket was taken, or at once if that means to wait
    /// for another thread, and the caller may not.
    pub(crate) fn purge_since(&self, ticket: Ticket, reach: Reach) {
        // Ends as `in_turn` does, and sooner if others purge.
        while !self.has_purged_since(ticket) {
            if self.turn.take() {
                // The last holder may have begun after the ticket.
                if !self.has_purged_since(ticket) {
                    self.purge_now(reach);
                }
                self.give_turn();
                return;
            }
            if !self.platform.pause() {
                return;
            }
        }
    }

    /// Whether a purge is over that began after the ticket was taken.
    pub(crate) fn has_purged_since(&self, ticket: Ticket) -> bool {
        self.turn.finished.load(Ordering::SeqCst) > ticket.0
    }

    /// Whether a purge is over that began after the ticket was taken, or one would find anything to flush, or one is
    /// under way that has taken it.
    pub(crate) fn has_purged_or_may(&self, ticket: Ticket) -> bool {
        self.anything_waits() || self.turn.busy.load(Ordering::Acquire) || self.has_purged_since(ticket)
    }

    /// Whether anything waits for a flush, but for what a purge has taken that is under way.
    pub(crate) fn anything_waits(&self) -> bool {
        self.lazy.iter().any(|lazy| !lazy.list.is_empty() || !lazy.deferred.is_empty())
    }

    /// Flushes what waits, whatever CPU it disturbs: how many pages became free. What others free meanwhile goes on
    /// waiting. The caller has the turn.
    pub(crate) fn purge_waiting(&self) -> usize {
        if self.anything_waits() { self.purge_now(Reach::Everyone) } else { 0 }
    }

    /// The caller has the turn.
    fn purge_now(&self, reach: Reach) -> usize {
        if self.is_traced() { self.trace_purge(|| self.purge_lists(reach)) } else { self.purge_lists(reach) }
    }

    fn purge_lists(&self, reach: Reach) -> usize {
        let number = self.turn.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let _unbroken = (self.policy.purge == PurgePolicy::Unbroken).then(|| self.platform.pin());
        self.while_freeing(|| self.free_deferred());
        let mut lists = [NONE; crate::MAX_CPUS];
        let mut ranges = Ranges::new(self.flush_ceiling());
        let mut last = Stamp::NEVER;
        let mut pages = 0;
        for (list, lazy) in lists.iter_mut().zip(&self.lazy) {
            if lazy.list.is_empty() {
                continue;
            }
            *list = lazy.list.take();
            for (number, block) in self.lazy_blocks(*list) {
                let (stamp, freed) = self.begin_flush(number, block, &mut ranges);
                last = last.max(stamp);
                pages += freed;
            }
        }
        let all = last != Stamp::NEVER && self.flush(&ranges, last, reach);
        for list in lists.into_iter().filter(|&list| list != NONE) {
            for (number, block) in self.lazy_blocks(list) {
                pages += self.end_flush(number, block, all);
                if self.policy.purge == PurgePolicy::Yielding {
                    self.platform.pause();
                }
            }
        }
        self.uncount_lazy(pages);
        self.turn.finished.store(number, Ordering::SeqCst);
        // As many as a directory maps: one may be empty now. Which CPUs are isolated is not asked later.
        let blocks = self.turn.blocks.load(Ordering::Relaxed);
        if blocks >= BLOCK_PAGES as u64 && !self.platform.shootdown().has_isolated() {
            self.turn.blocks.store(0, Ordering::Relaxed);
            self.release_directories();
        }
        pages
    }

    /// What is dirty in a block is to be flushed: since when, and how many pages became free because
    /// an isolated CPU flushed since the last purge.
    fn begin_flush(&self, number: usize, block: &Block, ranges: &mut Ranges) -> (Stamp, usize) {
        let pin = self.platform.pin();
        let shootdown = self.platform.shootdown();
        let mut pages = block.pages.lock(&pin);
        let forbid = forbid_in(block.role());
        // Freed runs have no pages to count; their stamp is kept here all the same.
        let since = pages.flushing_since();
        if !block.role().has_pages() && since != Stamp::NEVER && shootdown.is_flushed(since, forbid) {
            return (Stamp::NEVER, 0);
        }
        let freed = pages.end_flush(|stamp| shootdown.is_flushed(stamp, forbid));
        if forbid == Forbid::Speculation {
            ranges.forbid_speculation();
        }
        // Taken under the lock: all that is dirty was unmapped before.
        let stamp = shootdown.stamp();
        pages.begin_flush(stamp);
        match block.role() {
            Role::Freed { scattered: true, .. } => ranges.add(self.address(number, 0), 1),
            Role::Freed { blocks, .. } => {
                ranges.add(self.address(number, 0), (blocks as usize).saturating_mul(BLOCK_PAGES));
            }
            Role::Kept { pages, .. } => ranges.add(self.address(number, 0), pages),
            _ => {
                for (first, end) in pages.stale_runs(0) {
                    if !ranges.are_few() {
                        break;
                    }
                    let first = first.saturating_sub(pages.cut.into());
                    ranges.add(self.address(number, first), end - first);
                }
            }
        }
        (stamp, freed)
    }

    /// Whether every CPU forgot the ranges, which are all that the purge has. If not, the stamps tell
    /// which blocks have to wait.
    fn flush(&self, ranges: &Ranges, stamp: Stamp, reach: Reach) -> bool {
        let _pin = self.platform.pin();
        let shootdown = self.platform.shootdown();
        let disturbs = || shootdown.has_isolated() && !self.platform.broadcasts();
        let considerate = reach == Reach::Considerate && disturbs();
        let exact = ranges.exact().filter(|_| !considerate);
        self.trace_flush(exact.map(|_| ranges.pages()));
        match exact {
            Some(exact) => {
                shootdown.flush_pages(&self.platform, exact, ranges.forbid());
                true
            }
            None => shootdown.round(&self.platform, stamp, reach, ranges.forbid()),
        }
    }

    /// What is flushed in a block becomes free: how many pages did. The rest waits on.
    fn end_flush(&self, number: usize, block: &Block, all: bool) -> usize {
        let pin = self.platform.pin();
        let forbid = forbid_in(block.role());
        let flushed = |stamp| all || self.platform.shootdown().is_flushed(stamp, forbid);
        let mut wait = false;
        let pages = match block.role() {
            Role::Freed { blocks, scattered } => {
                wait = !flushed(block.pages.lock(&pin).flushing_since());
                if wait {
                    0
                } else {
                    drop(pin);
                    self.reclaim_blocks(number, blocks as usize, scattered);
                    let pages = blocks as usize * BLOCK_PAGES;
                    self.turn.blocks.fetch_add(blocks.into(), Ordering::Relaxed);
                    return if scattered { 0 } else { pages };
                }
            }
            Role::Kept { pages, cpu, .. } => {
                wait = !flushed(block.pages.lock(&pin).flushing_since());
                if wait { 0 } else { self.keep_flushed(&pin, block, pages, cpu) * BLOCK_PAGES }
            }
            Role::Congruent { .. } | Role::Leaving => {
                let (freed, waits) = self.end_congruent_flush(&pin, block, flushed);
                wait = waits;
                freed
            }
            _ => {
                let mut freed = 0;
                self.settle(&pin, block, |pages| {
                    freed = pages.end_flush(flushed);
                    wait = pages.stale() > 0;
                    pages.lazy = wait;
                });
                freed
            }
        };
        if wait {
            self.push_lazy(&pin, number);
        }
        pages
    }
}

/// What CPUs must not do any more in a block before what it was may be another's. Only freed runs give page tables
/// back.
fn forbid_in(role: Role) -> Forbid {
    match role {
        Role::Freed { .. } => Forbid::Speculation,
        _ => Forbid::Use,
    }
}
