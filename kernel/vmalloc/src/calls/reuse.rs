//! Whether freed areas are used again before they were flushed.

use crate::{Platform, Reuse, Vmalloc, types::tunables::Mode};

impl<P: Platform> Vmalloc<P> {
    /// Sets whether freed areas may be used again before they are flushed. Where this is turned off and the
    /// caller may not wait for a [grace period](Platform::synchronize), what other CPUs have parked, or
    /// mapped by [`vm_map_ram`](Self::vm_map_ram), stays in use there.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn set_reuse(&self, reuse: Reuse) {
        self.base().assert_not_in_interrupt("set_reuse");
        self.reclaim().bar_magazines(Mode::AfterFlush, reuse == Reuse::AfterFlush);
    }

    /// Returns whether freed areas may be used again before they are flushed.
    pub fn reuse(&self) -> Reuse {
        if self.base().tunables.modes.has(Mode::AfterFlush) { Reuse::AfterFlush } else { Reuse::Hot }
    }
}
