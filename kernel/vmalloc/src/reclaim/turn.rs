//! The turn: whose it is to purge, or to give back directories and records.
//!
//! Purges are numbered, and who fails to allocate notes the number of the last one that had begun, in a [`Ticket`]: a
//! later one, whoever ran it, has flushed what was unmapped before the failure. So nobody gives up while a purge that
//! may help is under way, and nobody repeats what another one did.
//!
//! Who gives back directories or records takes the turn too, and holds free address space for a while. So an
//! allocation that ran out makes its last attempt with the turn (`shortage`).
//!
//! Who waits for the turn waits for others' purges, each of which ends: it has the lists that it took, as long as they
//! were then. Or for others' last attempts, each of which is one allocation long: its frames are taken, and filled with
//! zeros if that was asked for, so it may last as long as zeroing all memory. Whoever may not wait is refused meanwhile,
//! or leaves undone what needs the turn. Nobody is first in line, so a wait may be for more than one of them.
//!
//! Who frees finds that too much waits, but does not get the turn, and must not wait for it: that is noted, and seen to
//! by who gives the turn.

use super::Reclaim;
use crate::{Platform, PurgePolicy, Reach, pending::Pressure};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(super) struct Turn {
    busy: AtomicBool,
    begun: AtomicU64,
    finished: AtomicU64,
    /// Whether somebody found that too much waits, and left it to who has the turn.
    missed: AtomicBool,
    /// Attempts without the turn that failed for want of room, and what they had held is free.
    failures: AtomicU64,
    /// Blocks that went back to the arena since directories were looked at.
    pub blocks: AtomicU64,
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
            missed: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
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

    /// Purges that began so far.
    pub fn purges_begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// A purge begins: its number.
    pub fn begin(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The purge of this number is over.
    pub fn finish(&self, number: u64) {
        self.finished.store(number, Ordering::SeqCst);
    }

    /// Leaves it to who has the turn to look how much waits, when it is given. `false`: nobody has it any more.
    fn leave_it(&self) -> bool {
        // All in one order: if the turn is still taken here, who has it gives it later, and looks for the note after
        // that.
        self.missed.store(true, Ordering::SeqCst);
        self.busy.load(Ordering::SeqCst)
    }
}

impl<P: Platform> Reclaim<P> {
    /// Flushes what was unmapped and makes it free: how many pages of address space became so. `None`: another thread
    /// has the turn, and the caller must not wait for it.
    pub fn purge(&self, reach: Reach) -> Option<usize> {
        self.in_turn(|| self.purge_now(reach))
    }

    /// Calls `work`, which does not ask for the turn itself, when nobody else has it. `None`: somebody has, and the
    /// caller must not wait for it.
    pub fn in_turn<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        // Ends: no turn lasts for ever; see the module's documentation.
        while !self.turn.take() {
            if !self.platform().pause() {
                return None;
            }
        }
        let done = work();
        self.give_turn();
        Some(done)
    }

    /// Purges unless somebody does; whether it did.
    pub(super) fn try_purge(&self) -> bool {
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
            && self.pending().pressure() == Pressure::High
            && !self.platform().wake_purger()
            && self.turn.take()
        {
            self.purge_now(Reach::Considerate);
            self.turn.give();
        }
    }

    /// A ticket for [`purge_since`](Self::purge_since): taken before what may fail.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.turn.begun.load(Ordering::SeqCst))
    }

    /// Returns when a purge is over that began after the ticket was taken, or at once if that means to wait
    /// for another thread, and the caller may not.
    pub(super) fn purge_since(&self, ticket: Ticket, reach: Reach) {
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
            if !self.platform().pause() {
                return;
            }
        }
    }

    /// Whether a purge is over that began after the ticket was taken.
    fn has_purged_since(&self, ticket: Ticket) -> bool {
        self.turn.finished.load(Ordering::SeqCst) > ticket.0
    }

    /// Whether a purge is over that began after the ticket was taken, or one would find anything to flush, or one is
    /// under way that has taken it.
    pub(super) fn has_purged_or_may(&self, ticket: Ticket) -> bool {
        !self.pending().is_empty() || self.turn.busy.load(Ordering::Acquire) || self.has_purged_since(ticket)
    }

    /// Too many pages wait for a flush.
    #[cold]
    pub(super) fn relieve_high(&self) {
        if !self.platform().wake_purger() {
            // Once more if the turn was given just now.
            if !self.try_purge() && !self.turn.leave_it() {
                self.try_purge();
            }
            return;
        }
        if self.base().policy.purge != PurgePolicy::Threshold {
            return;
        }
        // Purging outranks allocating: who frees purges too, or waits for the one who does.
        let times = self.base().tunables.purge_priority.load(Ordering::Relaxed);
        let far_too_many = times.saturating_mul(self.pending().lazy_max());
        let ticket = self.ticket();
        // Not for longer than one purge that began after the free: others may go on freeing.
        while self.pending().exceeds(far_too_many) && !self.has_purged_since(ticket) {
            if self.try_purge() || !self.platform().pause() {
                break;
            }
        }
    }
}
