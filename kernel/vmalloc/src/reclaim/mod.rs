//! Reclaim: purging, and what an allocation does that ran out of room.
//!
//! What waits for a flush (`pending`) becomes free by a purge (`purge`). One purge runs at a time: whoever purges has the
//! *turn* (`turn`), as has who gives back directories of page tables (`directories`) or records (`records`). An
//! allocation that ran out of address space or frames applies the cheapest remedy first (`shortage`); the list of all
//! that is cached, and can be given back, is in `caches`.
//!
//! Called by `calls` with no lock held. Locks: the list of notifiers; those of the rooms below, one at a time.

mod caches;
mod directories;
mod notify;
mod purge;
mod ranges;
mod records;
mod shortage;
mod turn;

use crate::{
    Platform,
    areas::Areas,
    base::Base,
    blocks::Blocks,
    pending::{Pending, Pressure},
};
#[cfg(test)]
pub(crate) use caches::Cached;
use core::sync::atomic::{AtomicU64, Ordering};
use notify::Notifiers;
pub use notify::{MAX_NOTIFIERS, PurgeNotifier};
use turn::Turn;

/// What makes room in an instance.
pub(crate) struct Reclaim<P> {
    pub areas: Areas<P>,
    turn: Turn,
    notifiers: Notifiers,
    /// Allocations that found no room at first.
    overflows: AtomicU64,
    /// Attempts that they made again.
    retries: AtomicU64,
}

impl<P: Platform> Reclaim<P> {
    pub fn new(areas: Areas<P>) -> Self {
        let (turn, notifiers) = (Turn::new(), Notifiers::new());
        Self { areas, turn, notifiers, overflows: AtomicU64::new(0), retries: AtomicU64::new(0) }
    }

    fn pending(&self) -> &Pending<P> {
        self.areas.pending()
    }

    fn blocks(&self) -> &Blocks<P> {
        self.areas.blocks()
    }

    fn base(&self) -> &Base<P> {
        self.areas.base()
    }

    fn platform(&self) -> &P {
        &self.base().platform
    }

    /// Allocations that found no room at first, attempts that they made again, and purges that began.
    pub fn tally(&self) -> (u64, u64, u64) {
        let (overflows, retries) = (&self.overflows, &self.retries);
        (overflows.load(Ordering::Relaxed), retries.load(Ordering::Relaxed), self.turn.purges_begun())
    }

    /// Flushes what waits, and gives back what is cached; see [`Vmalloc::trim`](crate::Vmalloc::trim).
    pub fn trim(&self) {
        self.in_turn(|| self.release_caches());
        self.release_records();
    }

    /// Gives everything back, and the records if nothing is allocated any more: nobody uses the instance.
    pub fn release(&mut self) {
        self.in_turn(|| self.release_caches());
        let blocks = &mut self.areas.pools.pending.blocks;
        if blocks.arena.stats(&blocks.base.platform.pin()).free == blocks.base.span.blocks() {
            blocks.release();
        }
    }

    /// Sees to it that what waits for a flush does not become too much, as who freed was told by `pressure`.
    #[inline]
    pub fn relieve(&self, pressure: Pressure) {
        if pressure == Pressure::High {
            self.relieve_high();
        }
    }
}
