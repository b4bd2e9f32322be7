//! What the room owns, and access to the rooms below.

use super::cache::CachedRuns;
use crate::{
    Event, Kind, Platform, atomic::AtomicUsize, base::Base, blocks::Blocks, magazines::Magazines,
    page_table::Entry, pending::Pending, percpu::PerCpu, pools::Pools, span::Span, types::Caller,
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
        // Where an area's address would be a frame's, none is parked ever.
        let barred = usize::from(!Entry::can_be_parked_at(base.span.range.start));
        let magazines = Magazines::new(base.tunables.modes.count() + barred, &mut base.records);
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

    /// Tells the machine that an area of `pages` pages is freed, if the instance is traced. Called before anybody else can
    /// have the pages.
    #[inline(always)]
    pub fn trace_free(&self, address: usize, pages: usize, kind: Kind, caller: Caller) {
        if self.base().is_traced() {
            self.tell_free(address, pages, kind, caller);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_free(&self, address: usize, pages: usize, kind: Kind, caller: Caller) {
        let waiting = self.pending().lazy_pages();
        self.platform().trace(Event::Free { address, pages, kind, waiting, caller });
    }

    /// Tells the machine that an area of its own frames, of `pages` pages until now, is resized, as above.
    #[inline(always)]
    pub(super) fn trace_resized(&self, address: usize, pages: usize, caller: Caller) {
        self.trace_free(address, pages, Kind::Vmalloc, caller);
    }

    /// Blocks of runs that are cached, or will be when they are flushed.
    #[cfg(all(test, not(loom)))]
    pub fn cached_blocks(&self) -> usize {
        self.cached_blocks.load(core::sync::atomic::Ordering::Relaxed)
    }
}
