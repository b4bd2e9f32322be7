//! The turn: whose it is to purge, or to give back directories and records.
//!
//! Purges are numbered. Before an attempt that may fail, an allocation notes the number of the last one that
//! has begun, in a [`Ticket`]: a later one, whoever runs it, flushes what was unmapped before the attempt. So
//! nobody gives up while a purge that may help is under way, and nobody repeats what another one did.
//!
//! Whoever gives back directories or records takes the turn too, and holds free address space for a while. So
//! an allocation that ran out makes its last attempt with the turn (`shortage`).
//!
//! Whoever waits for the turn waits for others' purges or last attempts. Every wait ends: a purge handles
//! only the lists it took. A last attempt lasts one allocation, with its zeroing, so it may last as long as
//! zeroing all memory. Whoever may not wait is refused meanwhile, or leaves undone what needs the turn.
//! Nobody is first in line, so a wait may be for more than one of them.
//!
//! If a free finds too much pending and cannot take the turn, it sets `missed`; whoever gives the turn up then purges.

use crate::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Turn {
    pub busy: AtomicBool,
    /// Purges that began so far: the number of the last one.
    pub begun: AtomicU64,
    /// The number of the last purge that is over.
    pub finished: AtomicU64,
    /// Pages of address space that purges made free so far.
    pub purged: AtomicU64,
    /// Whether somebody found that too much waits, and left it to who has the turn.
    pub missed: AtomicBool,
    /// Attempts without the turn that failed for want of room, and what they had held is free.
    failures: AtomicU64,
    /// Blocks that went back to the arena since directories were looked at.
    pub blocks: AtomicU64,
}

/// The number of the last purge that had begun at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket(pub(super) u64);

impl Turn {
    pub fn take(&self) -> bool {
        !self.busy.swap(true, Ordering::SeqCst)
    }

    pub fn give(&self) {
        // Not a store, though that is the same instruction: loom would let it come before a `take` that did not see it.
        self.busy.swap(false, Ordering::SeqCst);
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

    /// Whether a purge is over that began after the ticket was taken.
    pub fn has_finished_since(&self, ticket: Ticket) -> bool {
        self.finished.load(Ordering::SeqCst) > ticket.0
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_purge_that_is_over_is_later_than_the_tickets_below_its_number() {
        let turn = Turn::default();
        turn.finished.store(5, Ordering::Relaxed);
        assert_eq!([4, 5, 6].map(|number| turn.has_finished_since(Ticket(number))), [true, false, false]);
    }

    #[test]
    fn each_failure_changes_their_number() {
        let turn = Turn::default();
        let failures = [(); 3].map(|()| {
            turn.note_failure();
            turn.failures()
        });
        assert_eq!(failures, [1, 2, 3]);
    }
}
