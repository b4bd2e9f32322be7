//! What the room owns, and the way to the rooms below.

use super::{notifiers::Notifiers, turn::Turn};
use crate::{
    Platform,
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
    pub notifiers: Notifiers,
    /// Allocations that found no room at first.
    pub(super) overflows: AtomicU64,
    /// Attempts that they made again.
    pub(super) retries: AtomicU64,
}

impl<P: Platform> Reclaim<P> {
    #[inline(always)]
    pub fn new(areas: Areas<P>) -> Self {
        let (turn, notifiers) = (Turn::new(), Notifiers::new());
        Self { areas, turn, notifiers, overflows: AtomicU64::new(0), retries: AtomicU64::new(0) }
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

    /// Allocations that found no room at first, attempts that they made again, and purges that began.
    pub fn tally(&self) -> (u64, u64, u64) {
        let (overflows, retries) = (&self.overflows, &self.retries);
        (overflows.load(Ordering::Relaxed), retries.load(Ordering::Relaxed), self.turn.purges_begun())
    }
}
