//! What the room owns, and the way to the rooms below.

use super::cache::CachedRuns;
use crate::{
    Platform, atomic::AtomicUsize, base::Base, blocks::Blocks, magazines::Magazines, pending::Pending,
    percpu::PerCpu, pools::Pools, span::Span,
};

/// What makes the areas of an instance, and the runs of freed areas that it caches.
pub(crate) struct Areas<P> {
    pub pools: Pools<P>,
    pub magazines: Magazines,
    pub(super) cached: PerCpu<CachedRuns>,
    /// Blocks of runs in all CPUs' caches, and of those that will be there when they are flushed.
    pub(super) cached_blocks: AtomicUsize,
}

impl<P: Platform> Areas<P> {
    #[inline(always)]
    pub fn new(mut pools: Pools<P>) -> Self {
        let base = &mut pools.pending.blocks.base;
        let cached = base.records.lay_out();
        let magazines = Magazines::new(base.tunables.modes.count(), &mut base.records);
        Self { pools, magazines, cached, cached_blocks: AtomicUsize::new(0) }
    }

    #[inline(always)]
    pub fn pending(&self) -> &Pending<P> {
        &self.pools.pending
    }

    #[inline(always)]
    pub fn blocks(&self) -> &Blocks<P> {
        &self.pools.pending.blocks
    }

    #[inline(always)]
    pub fn base(&self) -> &Base<P> {
        &self.blocks().base
    }

    #[inline(always)]
    pub(super) fn platform(&self) -> &P {
        &self.base().platform
    }

    #[inline(always)]
    pub(super) fn span(&self) -> &Span {
        &self.base().span
    }

    /// Blocks of runs that are cached, or will be when they are flushed.
    #[cfg(all(test, not(loom)))]
    pub fn cached_blocks(&self) -> usize {
        self.cached_blocks.load(core::sync::atomic::Ordering::Relaxed)
    }
}
