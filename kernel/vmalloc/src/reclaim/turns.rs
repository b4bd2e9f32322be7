//! Taking the turn (`turn`) and giving it up.
//!
//! Purges, and whatever gives back caches, directories or records, run here one at a time. Public calls purge
//! through it, `shortage` and `caches` work in a turn, and every free that finds too much pending comes to
//! `relieve`. Callers hold no lock. Whoever gives the turn up purges for the frees that could not take it.

use super::{Reclaim, turn::Ticket};
use crate::{Platform, PurgePolicy, Reach, pending::Pressure, types::Caller};
use core::sync::atomic::Ordering;

impl<P: Platform> Reclaim<P> {
    /// Flushes what was unmapped and makes it free: how many pages of address space became so. `None`: another thread
    /// has the turn, and the caller must not wait for it.
    pub fn purge(&self, reach: Reach, caller: Caller) -> Option<usize> {
        self.in_turn(caller, || self.purge_now(reach, caller))
    }

    /// Calls `work`, which does not ask for the turn itself, when nobody else has it. `None`: somebody has, and the
    /// caller must not wait for it.
    pub fn in_turn<T>(&self, caller: Caller, work: impl FnOnce() -> T) -> Option<T> {
        // Ends: no turn lasts for ever; see `turn`.
        while !self.turn.take() {
            if !self.platform().pause() {
                return None;
            }
        }
        let done = work();
        self.give_turn(caller);
        Some(done)
    }

    /// Takes the turn unless somebody has it, and purges if that then `is_due`; whether it had the turn.
    pub(super) fn try_purge(&self, caller: Caller, is_due: impl FnOnce() -> bool) -> bool {
        let turn = self.turn.take();
        if turn {
            if is_due() {
                self.purge_now(Reach::Considerate, caller);
            }
            self.give_turn(caller);
        }
        turn
    }

    /// Gives the turn, and sees to what others left undone because it was taken.
    fn give_turn(&self, caller: Caller) {
        self.turn.give();
        // Once: if too much waits after that, the next free that counts sees it.
        if self.turn.missed.swap(false, Ordering::SeqCst)
            && self.pending().pressure() == Pressure::High
            && !self.platform().wake_purger()
            && self.turn.take()
        {
            self.purge_now(Reach::Considerate, caller);
            self.turn.give();
        }
    }

    /// A ticket for [`purge_since`](Self::purge_since): taken before what may fail.
    pub fn ticket(&self) -> Ticket {
        Ticket(self.turn.begun.load(Ordering::SeqCst))
    }

    /// Returns when a purge is over that began after the ticket was taken, or at once if that means to wait
    /// for another thread, and the caller may not.
    pub(super) fn purge_since(&self, ticket: Ticket, caller: Caller) {
        // Asked again with the turn: the last holder may have begun after the ticket.
        let is_due = || !self.turn.has_finished_since(ticket);
        // Ends as `in_turn` does, and sooner if others purge.
        while is_due() && !self.try_purge(caller, is_due) && self.platform().pause() {}
    }

    /// Whether a purge is over that began after the ticket was taken, or one would find anything to flush, or one is
    /// under way that has taken it.
    pub(super) fn has_purged_or_may(&self, ticket: Ticket) -> bool {
        !self.pending().is_empty()
            || self.turn.busy.load(Ordering::Acquire)
            || self.turn.has_finished_since(ticket)
    }

    /// Too many pages wait for a flush.
    #[cold]
    fn relieve_high(&self, caller: Caller) {
        if !self.platform().wake_purger() {
            // Once more if the turn was given just now.
            _ = self.try_purge(caller, || true) || self.turn.leave_it() || self.try_purge(caller, || true);
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
        let is_due = || self.pending().exceeds(far_too_many) && !self.turn.has_finished_since(ticket);
        while is_due() && !self.try_purge(caller, || true) && self.platform().pause() {}
    }

    /// Sees to it that what waits for a flush does not become too much, for a caller who retired pages on the way and may
    /// neither purge nor wait: wakes the thread that purges, or leaves it to who has the turn next.
    pub fn hint(&self) {
        if self.pending().pressure() == Pressure::High && !self.platform().wake_purger() {
            self.turn.leave_it();
        }
    }

    /// Sees to it that what waits for a flush does not become too much, as who freed was told by `pressure`.
    /// `caller` is who freed.
    #[inline]
    pub fn relieve(&self, pressure: Pressure, caller: Caller) {
        if pressure == Pressure::High {
            self.relieve_high(caller);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{
        PAGE_SIZE,
        tests::{
            machine::Machine,
            support::{flushing, free},
        },
    };
    use core::panic::Location;

    /// Seen failing with a hint that nobody takes, with one where little waits, and with one besides the thread's.
    #[test]
    fn a_hint_is_left_to_who_has_the_turn_where_too_much_waits_and_no_thread_purges() {
        for (has_thread, lazy_max, is_left) in [(false, 0, true), (false, 2000, false), (true, 0, false)] {
            let machine = Machine::new(1, 2000);
            let vmalloc = flushing(&machine, 4);
            if has_thread {
                machine.starve_purger();
            }
            let area = vmalloc.vmalloc(700 * PAGE_SIZE).expect("room");
            free(&vmalloc, area).expect("allocated");
            vmalloc.tunables().lazy_max_pages.store(lazy_max, Ordering::Relaxed);
            let reclaim = vmalloc.reclaim();
            reclaim.hint();
            assert_eq!(reclaim.turn.missed.load(Ordering::Relaxed), is_left, "{has_thread}, {lazy_max}");
        }
    }

    /// Seen failing with a purge where it was left and little waits, and with one where too much waits and it was not left.
    #[test]
    fn who_gives_the_turn_purges_where_that_was_left_and_too_much_waits() {
        for (is_left, lazy_max, purges) in [(true, 0, true), (true, 2000, false), (false, 0, false)] {
            let machine = Machine::new(1, 2000);
            let vmalloc = flushing(&machine, 4);
            let area = vmalloc.vmalloc(700 * PAGE_SIZE).expect("room");
            free(&vmalloc, area).expect("allocated");
            vmalloc.tunables().lazy_max_pages.store(lazy_max, Ordering::Relaxed);
            let reclaim = vmalloc.reclaim();
            reclaim.turn.missed.store(is_left, Ordering::Relaxed);
            assert!(reclaim.try_purge(Location::caller(), || false));
            assert_eq!(vmalloc.lazy_pages() == 0, purges, "{is_left}, {lazy_max}");
        }
    }

    /// Seen failing with a purge that ends by the number of the one before.
    #[test]
    fn a_purge_that_is_over_began_after_earlier_tickets_alone() {
        let machine = Machine::new(1, 2000);
        let vmalloc = flushing(&machine, 4);
        let reclaim = vmalloc.reclaim();
        for _ in 0..2 {
            let ticket = reclaim.ticket();
            vmalloc.purge();
            assert!(reclaim.turn.has_finished_since(ticket));
            assert!(!reclaim.turn.has_finished_since(reclaim.ticket()));
        }
    }
}
