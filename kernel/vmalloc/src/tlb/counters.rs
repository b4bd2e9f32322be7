//! What flushing cost each CPU, counted.

use core::sync::atomic::{AtomicU64 as Count, Ordering};

/// What a CPU did and was spared, since it was last reset.
#[derive(Debug, Default)]
pub struct Counters {
    /// Full flushes.
    pub full: Count,
    /// Pages flushed one by one.
    pub pages: Count,
    /// Interrupts that this CPU sent to others to make them flush.
    pub sent: Count,
    /// Interrupts that others sent to this CPU.
    pub received: Count,
    /// Times the CPU was not interrupted because it had flushed since.
    pub elided: Count,
    /// Times the CPU was not interrupted because it was idle.
    pub idle: Count,
    /// Times the CPU was left alone because it is isolated.
    pub spared: Count,
    /// Times the CPU was interrupted although it is isolated.
    pub forced: Count,
    /// Broadcasts that this CPU made, of pages or of everything. They are in no other count.
    pub broadcasts: Count,
}

/// Counts `by` more.
pub(crate) fn count(counter: &Count, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
