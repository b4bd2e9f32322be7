//! What the room owns.

use super::cpu::Cpu;
use crate::{
    Platform,
    apart::Apart,
    atomic::{AtomicI64, AtomicUsize},
    blocks::Blocks,
    percpu::PerCpu,
};

/// What waits for a flush in an instance.
pub(crate) struct Pending<P> {
    pub blocks: Blocks<P>,
    pub(super) cpus: PerCpu<Cpu>,
    /// Pages that the CPUs counted. Shares may be taken off before they are added: it may be negative for a moment.
    pub(super) sum: Apart<AtomicI64>,
    /// Pages of areas that interrupt handlers freed, until a purge comes to them.
    pub(super) deferred_pages: AtomicUsize,
    /// Pages that the last purge had wait on, for others to be freed.
    pub(super) held: AtomicI64,
}

impl<P: Platform> Pending<P> {
    #[inline(always)]
    pub fn new(mut blocks: Blocks<P>) -> Self {
        let cpus = blocks.base.records.lay_out();
        let (sum, deferred_pages, held) = (Apart(AtomicI64::new(0)), AtomicUsize::new(0), AtomicI64::new(0));
        Self { blocks, cpus, sum, deferred_pages, held }
    }
}
