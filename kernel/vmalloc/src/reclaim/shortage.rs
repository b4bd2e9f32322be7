//! Reclaim: the slow path of an allocation that ran out of address space or frames.
//!
//! It applies the cheapest remedy first, and tries again after each: a purge that began after the attempt
//! did; giving back all that the instance caches for speed (`caches`), on all CPUs; its records, which takes
//! a grace period; asking the purge notifiers. If fewer frames are free than an attempt surely needs, it is
//! not made: it would take them from others only to give them back. Called with no lock held.
//!
//! Why a refusal is right: the last attempt is made with the turn (`turn`), after a purge, and after everything was
//! given back; magazines stay closed meanwhile. Nobody else purges then, or holds free address space to give back
//! directories or records. If the attempt fails while nothing waits and no other has failed (`Turn::note_failure`),
//! all else is allocated, or in the hands of CPUs, on its way from one place to another. Whoever lacks address space
//! and may wait looks again after a grace period, in which they put it down. What is missing then is held by attempts
//! under way: the refusal is right. Where something waits, or another attempt has failed, others may have taken what
//! the purge freed, and the round is repeated, up to [`ROUNDS`] times, unless what waits would not do either.
//!
//! With the turn, an attempt collects all frames first. So if it fails it has mapped nothing that would have to wait.
//! Where it maps earlier, it flushes what it gives back.

use super::{Reclaim, turn::Ticket};
use crate::{
    AllocError, BLOCK_PAGES, OverflowPolicy, PAGE_SIZE, Platform,
    areas::{Attempt, Needs},
    types::Caller,
};
use core::sync::atomic::Ordering;

/// How often all that is cached is given back because others, who were faster, took it. A round is lost only by a thread
/// that does not run between its purge and its attempt while others take all there is.
const ROUNDS: usize = 16;

impl<P: Platform> Reclaim<P> {
    /// Makes what `attempt` makes, and, if it runs out of room, tries again after each of the remedies.
    #[inline]
    pub fn make<T>(
        &self,
        needs: impl FnOnce() -> Needs,
        attempt: impl Fn(Attempt) -> Result<T, AllocError>,
    ) -> Result<T, AllocError> {
        let ticket = self.ticket();
        attempt(Attempt::Usual).or_else(|error| self.make_again(error, needs(), ticket, attempt))
    }

    /// Notes that an attempt has failed that is not made again, and returns what to say of it.
    #[cold]
    pub fn give_up(&self, error: AllocError, needs: Needs) -> AllocError {
        self.turn.note_failure();
        self.hint();
        self.told(error, needs)
    }

    /// Says in an error what there was too little of, and how much there is now.
    fn told(&self, error: AllocError, needs: Needs) -> AllocError {
        match error {
            AllocError::OutOfAddressSpace { .. } => AllocError::OutOfAddressSpace {
                size: needs.pages * PAGE_SIZE,
                align: needs.align,
                longest: self.blocks().arena.stats(&self.platform().pin()).longest_run as u32,
            },
            // What lacks may be for a table, which nobody counts among the needs.
            AllocError::OutOfFrames { .. } => {
                AllocError::OutOfFrames { needed: needs.frames.max(1), free: self.platform().free_frames() }
            }
            error => error,
        }
    }

    /// Tries again what failed with `error` after `ticket` was taken, after each of the remedies.
    #[cold]
    #[inline(never)]
    pub fn make_again<T>(
        &self,
        error: AllocError,
        needs: Needs,
        ticket: Ticket,
        attempt: impl Fn(Attempt) -> Result<T, AllocError>,
    ) -> Result<T, AllocError> {
        if !is_shortage(error) {
            return Err(error);
        }
        let made = self.apply_remedies(error, needs, ticket, attempt);
        // What failed attempts had mapped waits for a flush.
        self.hint();
        made.map_err(|error| self.told(error, needs))
    }

    fn apply_remedies<T>(
        &self,
        error: AllocError,
        needs: Needs,
        ticket: Ticket,
        attempt: impl Fn(Attempt) -> Result<T, AllocError>,
    ) -> Result<T, AllocError> {
        let frames = needs.frames;
        self.overflows.fetch_add(1, Ordering::Relaxed);
        self.turn.note_failure();
        let again = |which| {
            self.retries.fetch_add(1, Ordering::Relaxed);
            attempt(which)
        };
        if self.base().policy.overflow == OverflowPolicy::OnePurge {
            self.try_purge(needs.caller, || true);
            return again(Attempt::Usual);
        }
        let may_do = matches!(error, AllocError::OutOfAddressSpace { .. }) || self.may_do(frames);
        if may_do && self.has_purged_or_may(ticket) {
            self.purge_since(ticket, needs.caller);
            let result = again(Attempt::Usual);
            if !result.as_ref().is_err_and(|&error| is_shortage(error)) {
                return result;
            }
            self.turn.note_failure();
        }
        let mut refused_at = None;
        let error = match self.press(error, &needs, ROUNDS, &again, &mut refused_at) {
            Err(error) if is_shortage(error) => error,
            result => return result,
        };
        if self.notifiers.notify(self.platform().pin(), self.told(error, needs)) {
            return self.press(error, &needs, ROUNDS, &again, &mut refused_at);
        }
        // Others may have freed what does since the refusal: while records, or a notifier, waited for a grace period.
        if refused_at.is_some_and(|ticket| self.has_purged_or_may(ticket) && self.may_do(frames)) {
            return self.press(error, &needs, 1, &again, &mut refused_at);
        }
        Err(error)
    }

    /// [Splits](crate::blocks::Blocks::split_huge) a 2 MiB page, and makes room for the table if there is none.
    pub fn split_huge(&self, number: usize, caller: Caller) -> Result<(), AllocError> {
        let needs = || Needs::pages(BLOCK_PAGES, 1, caller);
        self.make(needs, |_| self.blocks().split_huge(number, caller).map(drop))
    }

    /// Gives back all that is cached, and tries again; again if others took it, up to `rounds` times. Notes in
    /// `refused_at` when the last attempt was refused. Returns `error` where the caller may not wait for who has the turn.
    fn press<T>(
        &self,
        mut error: AllocError,
        &Needs { frames, caller, .. }: &Needs,
        rounds: usize,
        again: &impl Fn(Attempt) -> Result<T, AllocError>,
        refused_at: &mut Option<Ticket>,
    ) -> Result<T, AllocError> {
        let _closed = self.close_magazines();
        let mut has_looked_again = false;
        for _ in 0..rounds {
            match self.in_turn(caller, || self.press_once(frames, caller, again)) {
                Some(Ok(made)) => return Ok(made),
                Some(Err(None)) => {}
                Some(Err(Some(refused))) => {
                    error = refused;
                    // Before anything is closed below, so that what others freed and is flushed with that counts as freed since.
                    *refused_at = Some(self.ticket());
                    // Each takes a grace period. Records are few: the last to go. Address space may be on its way from one
                    // place to another, in the hands of CPUs that are pinned: they have put it down afterwards.
                    let waits = || match error {
                        AllocError::OutOfFrames { .. } => self.release_unused_records(caller) > 0,
                        _ => self.platform().synchronize(),
                    };
                    if has_looked_again || !waits() {
                        break;
                    }
                    has_looked_again = true;
                }
                None => break,
            }
        }
        Err(error)
    }

    /// Closes the blocks in which nothing is allocated, because a last attempt may have opened one and found no frame for its
    /// pages; then gives back the records of free blocks. Returns how many frames these had.
    fn release_unused_records(&self, caller: Caller) -> usize {
        self.in_turn(caller, || self.close_blocks(caller));
        self.release_records(caller)
    }

    /// Tries again after everything was given back, with the turn, which the caller has. `Err(None)`: others have freed
    /// since what may do.
    fn press_once<T>(
        &self,
        frames: usize,
        caller: Caller,
        again: &impl Fn(Attempt) -> Result<T, AllocError>,
    ) -> Result<T, Option<AllocError>> {
        let freed_meanwhile = self.release_caches(caller);
        let failures = self.turn.failures();
        let has_frames = self.platform().free_frames() >= frames;
        let result = if has_frames { again(Attempt::Last) } else { Err(AllocError::NO_FRAMES) };
        result.map_err(|error| {
            let is_final = !is_shortage(error)
                || freed_meanwhile == 0 && self.pending().is_empty() && self.turn.failures() == failures
                || matches!(error, AllocError::OutOfFrames { .. })
                    && !self.may_do(frames.saturating_sub(freed_meanwhile));
            is_final.then_some(error)
        })
    }

    /// Whether there would be so many frames once what waits is flushed.
    fn may_do(&self, frames: usize) -> bool {
        let waiting = usize::try_from(self.pending().lazy_pages()).unwrap_or(0);
        frames <= self.platform().free_frames().saturating_add(waiting)
    }
}

/// Whether more room would help.
fn is_shortage(error: AllocError) -> bool {
    matches!(error, AllocError::OutOfAddressSpace { .. } | AllocError::OutOfFrames { .. })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::tests::{machine::Machine, support::instance};
    use core::panic::Location;

    /// What it had held may do.
    ///
    /// Seen failing with failures that are not noted, and with those that are not compared.
    #[test]
    fn an_attempt_is_not_the_last_if_another_one_failed_meanwhile() {
        let machine = Machine::new(1, 500);
        let vmalloc = instance(&machine, 4);
        let (reclaim, caller) = (vmalloc.reclaim(), Location::caller());
        let once = |meanwhile: &dyn Fn()| {
            let refused = |_| {
                meanwhile();
                Err::<(), _>(AllocError::NO_SPACE)
            };
            reclaim.in_turn(caller, || reclaim.press_once(0, caller, &refused))
        };
        assert_eq!(once(&|| ()), Some(Err(Some(AllocError::NO_SPACE))));
        assert_eq!(once(&|| reclaim.turn.note_failure()), Some(Err(None)));
    }

    /// Seen failing with every error taken for a shortage.
    #[test]
    fn what_no_room_mends_is_not_tried_again() {
        let machine = Machine::new(1, 500);
        let vmalloc = instance(&machine, 4);
        let (reclaim, caller) = (vmalloc.reclaim(), Location::caller());
        let refused = AllocError::ZeroSize;
        let made = reclaim.make_again::<()>(refused, Needs::pages(1, 1, caller), reclaim.ticket(), |_| {
            unreachable!("it was not for want of room")
        });
        assert_eq!((made, vmalloc.tally().overflows), (Err(refused), 0));
    }
}
