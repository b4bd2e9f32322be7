//! What TLB flushes cost each CPU, counted.

use core::sync::atomic::{AtomicU64 as Count, Ordering};

/// Counts of what a CPU did to flush, and of what it was spared. They only grow; whoever wants to measure from now on
/// stores 0.
#[derive(Debug, Default)]
pub struct Counters {
    /// Full flushes of this CPU's TLB.
    pub full: Count,
    /// Pages that this CPU flushed one by one.
    pub pages: Count,
    /// Interrupts that this CPU sent to others to make them flush, one for each CPU interrupted.
    #[doc(alias = "nr_tlb_remote_flush")]
    pub sent: Count,
    /// Interrupts that this CPU was sent by others to make it flush.
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
    /// Broadcasts that this CPU made, of pages or of everything. No other count has them.
    pub broadcasts: Count,
}

/// Adds `by` to a counter.
pub(crate) fn count(counter: &Count, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
