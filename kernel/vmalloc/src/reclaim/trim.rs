//! Giving everything back that can be: by hand, and when an instance goes.

use super::Reclaim;
use crate::Platform;

impl<P: Platform> Reclaim<P> {
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
}
