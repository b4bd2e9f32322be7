//! What TLB flushes cost each CPU, counted.

use core::sync::atomic::{AtomicU64 as Count, Ordering};

/// Counts of what a CPU did to flush, and of what it was spared. They only grow; to
/// measure from now on, store 0.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Full flushes of this CPU's TLB.
    pub full: Count,
    /// Pages that this CPU flushed one by one.
    pub pages: Count,
    /// Interrupts that this CPU sent to others to make them flush, one for each CPU interrupted.
    #[doc(alias = "nr_tlb_remote_flush")]
    pub sent: Count,
    /// Interrupts that other CPUs sent to this one to make it flush.
    #[doc(alias = "nr_tlb_remote_flush_received")]
    pub received: Count,
    /// Times the CPU was not interrupted because it had flushed since the pages were unmapped.
    pub elided: Count,
    /// Times the CPU was not interrupted because it was idle.
    pub idle: Count,
    /// Times the CPU was not interrupted because it was isolated.
    pub spared: Count,
    /// Times the CPU was interrupted although it was isolated.
    pub forced: Count,
    /// Broadcasts that this CPU made, of pages or of everything. No other counter includes them.
    pub broadcasts: Count,
}

impl Counters {
    /// Makes counters that are all 0.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            full: Count::new(0),
            pages: Count::new(0),
            sent: Count::new(0),
            received: Count::new(0),
            elided: Count::new(0),
            idle: Count::new(0),
            spared: Count::new(0),
            forced: Count::new(0),
            broadcasts: Count::new(0),
        }
    }
}

/// Adds `by` to a counter.
pub(crate) fn count(counter: &Count, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
