//! What the room owns, and the way to the rooms below.

use super::{notifiers::Notifiers, quarantine::Quarantine, turn::Turn};
use crate::{
    Platform, Tally,
    areas::Areas,
    atomic::{AtomicU64, Ordering},
    base::Base,
    blocks::Blocks,
    pending::Pending,
};

/// What makes room in an instance.
pub(crate) struct Reclaim<P> {
    pub areas: Areas<P>,
    pub(super) turn: Turn,
    pub(super) quarantine: Quarantine,
    pub notifiers: Notifiers,
    /// Allocations that found no room at first.
    pub(super) overflows: AtomicU64,
    /// Attempts that they made again.
    pub(super) retries: AtomicU64,
}

impl<P: Platform> Reclaim<P> {
    #[inline(always)]
    pub fn new(areas: Areas<P>) -> Self {
        let (overflows, retries) = (AtomicU64::new(0), AtomicU64::new(0));
        let (turn, quarantine) = (Turn::default(), Quarantine::new());
        Self { areas, turn, quarantine, notifiers: Notifiers::new(), overflows, retries }
    }

    pub(super) fn pending(&self) -> &Pending<P> {
        self.areas.pending()
    }

    pub(super) fn blocks(&self) -> &Blocks<P> {
        self.areas.blocks()
    }

    pub(super) fn base(&self) -> &Base<P> {
        self.areas.base()
    }

    pub(super) fn platform(&self) -> &P {
        &self.base().platform
    }

    /// What the instance did since it was made.
    pub fn tally(&self) -> Tally {
        Tally {
            search_steps: self.blocks().arena.stats(&self.platform().pin()).steps,
            overflows: self.overflows.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            purges: self.turn.begun.load(Ordering::Relaxed),
            purged: self.turn.purged.load(Ordering::Relaxed),
        }
    }
}
