//! What the shootdown protocol asks of the machine: flushing, interrupting, waiting.

use super::CpuSet;
use core::ops::Range;

/// What all CPUs are to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The pages of these page-aligned ranges, and what the paging-structure caches have of the ways to
    /// them.
    Pages(&'a [Range<usize>]),
    /// Every translation that is not global, and everything in the paging-structure caches.
    All,
}

/// How the machine flushes, interrupts and waits. All calls are made pinned. What has a default is
/// right so on a machine with one CPU that never flushes in an interrupt.
///
/// # Safety
/// What is flushed is given to others, so these promises are relied on:
/// 1. [`here`](Self::here) is the CPU that runs the call, below [`MAX_CPUS`](crate::MAX_CPUS).
/// 2. [`flush_page`](Self::flush_page), [`flush_all`](Self::flush_all) and [`broadcast`](Self::broadcast) make CPUs
///    forget what they say, before they return.
/// 3. [`wait`](Self::wait) returns only when `done` has said so.
/// 4. Within [`uninterrupted`](Self::uninterrupted) neither an interrupt nor another thread comes in between, and it
///    may be nested.
pub unsafe trait Flusher {
    /// The CPU this runs on.
    fn here(&self) -> usize;
    /// Makes this CPU forget the page at `address`, and everything in its paging-structure caches.
    fn flush_page(&self, address: usize);
    /// Makes this CPU forget every translation that is not global.
    fn flush_all(&self);
    /// Interrupts these CPUs, each of which then calls [`Shootdown::serve`](super::Shootdown::serve).
    fn interrupt(&self, cpus: CpuSet) {
        debug_assert!(cpus.is_empty(), "a machine of several CPUs interrupts them");
    }
    /// Returns when `done` says so. Meanwhile this CPU calls [`Shootdown::serve`](super::Shootdown::serve) for itself if its
    /// interrupts are off. May panic, naming `cpu`, when that takes too long.
    fn wait(&self, cpu: usize, done: impl Fn() -> bool) {
        debug_assert!(done(), "a machine of several CPUs waits for CPU {cpu}");
    }
    /// Calls `serve` while no interrupt can come between.
    fn uninterrupted(&self, serve: impl FnOnce()) {
        serve();
    }
    /// Whether the machine can [`broadcast`](Self::broadcast): then it always does, and no CPU is
    /// interrupted. The answer never changes.
    fn broadcasts(&self) -> bool {
        false
    }
    /// Makes every CPU, this one and those that are idle or isolated included, forget what `scope` says,
    /// without interrupting it. Returns when all have, and have finished what they did by it. A fence
    /// stands before the call: whoever walks the tables afterwards sees what this CPU wrote.
    fn broadcast(&self, scope: Scope<'_>) {
        debug_assert!(false, "a machine that cannot broadcast {scope:x?}");
    }
}
