//! What an allocation does that found no room: it purges, then gives back what is kept for speed, then asks
//! others to give back, and tries again after each.
//!
//! It gives up only if a purge that began after its last failure made no room, and nobody held free address space
//! while it failed, to give tables or records back.

use crate::{
    AllocError, Vmalloc, platform::Platform, policy::OverflowPolicy, purge::Ticket, shootdown::Reach,
};
use core::sync::atomic::Ordering;

/// Purges that an allocation makes, or waits for, while each makes room that others take.
const ROUNDS: usize = 64;

impl<P: Platform> Vmalloc<P> {
    /// Tries again what failed with `error` after each of the things that may help, the cheapest
    /// first. It fails only if a purge that began after the last failure made no room: others may have
    /// been faster to take what earlier ones made.
    #[cold]
    pub(crate) fn make_room<T>(
        &self,
        error: AllocError,
        ticket: Ticket,
        wait: bool,
        again: impl Fn() -> Result<T, AllocError>,
    ) -> Result<T, AllocError> {
        let may_help = matches!(error, AllocError::OutOfAddressSpace | AllocError::OutOfFrames);
        if !may_help || !wait {
            return Err(error);
        }
        self.overflows.fetch_add(1, Ordering::Relaxed);
        if self.policy.overflow == OverflowPolicy::OnePurge {
            self.try_purge();
            return again();
        }
        for round in 0..ROUNDS {
            let made = self.room_made();
            let mut released = 0;
            if round == 0 {
                self.purge_since(ticket, Reach::Considerate);
            } else {
                released = self.purge_thoroughly();
            }
            let result = self.undisturbed(&again);
            if result.is_ok() {
                return result;
            }
            if round > 0 && released == 0 && made == self.room_made() {
                break;
            }
        }
        if !self.notify(error) {
            return Err(error);
        }
        // What they freed waits for a flush.
        self.purge_all();
        self.purge_thoroughly();
        self.undisturbed(again)
    }

    /// Flushes, and gives back kept frames, empty blocks, and tables and records of nothing: how many frames.
    fn purge_thoroughly(&self) -> usize {
        let frames = self.release_frames();
        // Blocks that a purge emptied are closed, which needs another flush.
        self.close_empty_blocks();
        self.close_kept_runs();
        self.purge_reaching(Reach::Everyone);
        frames + self.in_turn(|| self.release_directories()).unwrap_or(0) + self.release_records()
    }

    /// Makes an attempt to allocate, again if it failed while somebody held free address space. If the caller may
    /// not wait the first failure counts.
    pub(crate) fn undisturbed<T, E>(&self, attempt: impl Fn() -> Result<T, E>) -> Result<T, E> {
        loop {
            let before = self.holds();
            let result = attempt();
            let disturbed = !before.is_multiple_of(2) || before != self.holds();
            if result.is_ok() || !disturbed || !self.platform.pause() {
                return result;
            }
        }
    }
}
