//! What the shootdown protocol asks of the machine: flushing, interrupting, waiting.

use super::CpuSet;
use core::ops::Range;

/// What a [broadcast](Flusher::broadcast) makes all CPUs forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The pages of these page-aligned ranges of addresses, and the entries for them in the paging-structure caches.
    Pages(&'a [Range<usize>]),
    /// Every translation that is not global, whatever its process-context identifier, and the whole of the
    /// paging-structure caches.
    All,
}

/// How the machine flushes TLBs, interrupts CPUs and waits for them. A machine with one CPU that never
/// flushes in an interrupt implements the first three functions; the defaults are right for it. A machine of
/// several CPUs that broadcasts implements all but [`interrupt`](Self::interrupt): [`wait`](Self::wait) and
/// [`uninterrupted`](Self::uninterrupted) too, because a broadcast waits for read-side sections. All calls
/// are made while pinned to a CPU, which is the current one.
///
/// # Safety
/// On the strength of these promises, what every CPU has flushed is handed to others:
/// 1. [`here`](Self::here) returns the CPU that runs the call, below [`MAX_CPUS`](crate::MAX_CPUS).
/// 2. [`flush_page`](Self::flush_page), [`flush_all`](Self::flush_all) and [`broadcast`](Self::broadcast) make CPUs
///    forget what they say, before they return.
/// 3. [`wait`](Self::wait) returns only once `done` has returned true.
/// 4. Neither an interrupt nor another thread intervenes within
///    [`uninterrupted`](Self::uninterrupted), which may be nested.
pub unsafe trait Flusher {
    /// Returns the number of the current CPU, below [`MAX_CPUS`](crate::MAX_CPUS).
    #[doc(alias = "smp_processor_id")]
    fn here(&self) -> usize;
    /// Makes the current CPU forget the page at `address`, and the paths to it in its paging-structure
    /// caches, as `invlpg` does.
    #[doc(alias = "flush_tlb_one_kernel")]
    fn flush_page(&self, address: usize);
    /// Makes the current CPU forget every translation that is not global, and the whole of its
    /// paging-structure caches, as a write to CR3 does (without PCIDs).
    #[doc(alias = "flush_tlb_local")]
    fn flush_all(&self);
    /// Interrupts these CPUs, each of which then calls [`Shootdown::answer`](super::Shootdown::answer). Returns without
    /// waiting for them.
    fn interrupt(&self, cpus: CpuSet) {
        debug_assert!(cpus.is_empty(), "a machine of several CPUs interrupts them");
    }
    /// Waits for another CPU, `cpu`, until `done` returns true. Meanwhile the current CPU calls
    /// [`Shootdown::serve`](super::Shootdown::serve) for itself if its interrupts are off: the other CPU may
    /// be waiting for it. The machine may panic, naming `cpu`, when that takes too long.
    fn wait(&self, cpu: usize, done: impl Fn() -> bool) {
        debug_assert!(done(), "a machine of several CPUs waits for CPU {cpu}");
    }
    /// Calls `serve` with interrupts off, and restores them afterwards.
    fn uninterrupted(&self, serve: impl FnOnce()) {
        serve();
    }
    /// Returns whether the machine can [`broadcast`](Self::broadcast): if so, every flush of other CPUs is a
    /// broadcast, and no CPU is interrupted. The answer never changes.
    fn broadcasts(&self) -> bool {
        false
    }
    /// Makes every CPU, the current one and idle and isolated ones included, forget what `scope` says, without
    /// interrupting it. Returns once all have forgotten it, and finished the accesses that used it. The caller
    /// has executed a fence: a CPU that walks the page tables afterwards sees what the caller wrote.
    #[doc(alias = "invlpgb")]
    fn broadcast(&self, scope: Scope<'_>) {
        debug_assert!(false, "a machine that cannot broadcast {scope:x?}");
    }
}
