//! Tunables: limits of an instance that may be changed while it runs.

use super::policy::Reuse;
use core::sync::atomic::{AtomicBool, AtomicUsize};

/// Limits and switches of an instance that may be changed while it runs, by plain stores. Pages are of 4 KiB.
#[derive(Debug)]
pub struct Tunables {
    /// Pages up to which a flush goes page by page; a longer one flushes everything. Linux's default is 33.
    #[doc(alias = "tlb_single_page_flush_ceiling")]
    pub single_page_flush_ceiling: AtomicUsize,
    /// Pages that may wait for a flush before a purge is due. 0 stands for 32 MiB, and as much again for each doubling
    /// of the number of CPUs, but a 16th of the memory at most: see [`lazy_max`](crate::Vmalloc::lazy_max).
    pub lazy_max_pages: AtomicUsize,
    /// Factor of [`lazy_max`](crate::Vmalloc::lazy_max): where more pages wait, purging outranks allocating, and who
    /// frees purges, or waits for a purge.
    pub purge_priority: AtomicUsize,
    /// Leaf tables that each CPU has in reserve, unused and full of zeros; at most 16. At first they are 8, or the 1024th
    /// part of the memory if that is less.
    pub table_reserve: AtomicUsize,
    /// Whether [`Platform::trace`](crate::Platform::trace) is told what is done; see
    /// [`Vmalloc::set_trace`](crate::Vmalloc::set_trace).
    pub(crate) trace: AtomicBool,
    /// Whether freed areas wait for a flush before they are used again; see
    /// [`Vmalloc::set_reuse`](crate::Vmalloc::set_reuse).
    pub(crate) after_flush: AtomicBool,
}

impl Tunables {
    pub(crate) fn new(reuse: Reuse, total_frames: usize) -> Self {
        // 33 is Linux's default; see arch/x86/mm/tlb.c for how it was measured.
        Self {
            single_page_flush_ceiling: AtomicUsize::new(33),
            lazy_max_pages: AtomicUsize::new(0),
            // Linux's factor since 2019.
            purge_priority: AtomicUsize::new(2),
            table_reserve: AtomicUsize::new((total_frames / 1024).min(8)),
            trace: AtomicBool::new(false),
            after_flush: AtomicBool::new(reuse == Reuse::AfterFlush),
        }
    }
}
