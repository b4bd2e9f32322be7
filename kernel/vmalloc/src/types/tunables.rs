//! What may be tuned while an instance runs.

use core::sync::atomic::{AtomicBool, AtomicUsize};

/// What may be tuned while an instance runs.
#[derive(Debug)]
pub struct Tunables {
    /// Up to this many pages are flushed one by one, more by flushing everything.
    pub single_page_flush_ceiling: AtomicUsize,
    /// Pages that may wait for a flush before a purge is due; 0: 32 MiB of them, and as many again for
    /// each doubling of the number of CPUs.
    pub lazy_max_pages: AtomicUsize,
    /// Times that many, above which purging outranks allocating: who frees then purges, or waits.
    pub purge_priority: AtomicUsize,
    /// Leaf tables, out of use and clean, that each CPU keeps; 16 at most.
    pub table_reserve: AtomicUsize,
    /// Whether [`Platform::trace`] is told what is done.
    pub trace: AtomicBool,
}

impl Tunables {
    pub(crate) const fn new() -> Self {
        // 33 is Linux's default; see arch/x86/mm/tlb.c for how it was measured.
        Self {
            single_page_flush_ceiling: AtomicUsize::new(33),
            lazy_max_pages: AtomicUsize::new(0),
            // As Linux since 2019.
            purge_priority: AtomicUsize::new(2),
            table_reserve: AtomicUsize::new(8),
            trace: AtomicBool::new(false),
        }
    }
}
