//! What waits for a worker of its own, which is done with it in batches: how much that is, and what the worker is asked.

#[cfg(all(test, loom))]
mod models;

use crate::Wait;
#[cfg(not(loom))]
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// What a worker is asked. Of several, it is asked the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Asked {
    /// To take what waits, as a batch, and to be done with the batch before.
    Next = 1,
    /// To be done with all there is.
    All = 2,
}

/// No worker is asked this.
const NOTHING: u8 = 0;

/// Counts of what waits, and what the worker is asked. The things themselves are elsewhere, such as in a list of one CPU. Any
/// CPU may [ask](Self::ask), and wait until the worker is done with [the first so many](Self::lacks).
#[derive(Debug)]
pub struct Backlog<W> {
    /// Things added, and of these those that the worker is done with; both ever since.
    added: AtomicUsize,
    done: AtomicUsize,
    asked: AtomicU8,
    work: W,
}

impl<W> Backlog<W> {
    /// Makes one of nothing; the worker waits by `work`.
    #[cfg(not(loom))]
    pub const fn new(work: W) -> Self {
        Self { added: AtomicUsize::new(0), done: AtomicUsize::new(0), asked: AtomicU8::new(NOTHING), work }
    }

    /// Makes one of nothing; the worker waits by `work`. Loom's atomics cannot be made in a constant.
    #[cfg(loom)]
    pub fn new(work: W) -> Self {
        Self { added: AtomicUsize::new(0), done: AtomicUsize::new(0), asked: AtomicU8::new(NOTHING), work }
    }

    /// Counts one thing more: how many were added so far. The worker finds a thing before it is counted, and takes none that is
    /// not: where both are on one CPU, because the worker does not run in between.
    #[inline]
    pub fn add(&self) -> usize {
        self.added.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns how many things were added so far.
    #[inline]
    pub fn added(&self) -> usize {
        self.added.load(Ordering::Relaxed)
    }

    /// Returns how many things wait.
    #[inline]
    pub fn waiting(&self) -> usize {
        // In this order: what is done with was added before.
        let done = self.done.load(Ordering::Acquire);
        self.added.load(Ordering::Relaxed).wrapping_sub(done)
    }

    /// Returns whether of the first so many things the worker is not done with some. If it is done with all, what it did is
    /// seen.
    pub fn lacks(&self, first: usize) -> bool {
        first.wrapping_sub(self.done.load(Ordering::Acquire)).cast_signed() > 0
    }

    /// Counts things that the worker, which alone calls this, is done with: a whole batch, as who waits for the first so many
    /// waits for batches.
    pub fn done_with(&self, count: usize) {
        let done = self.done.load(Ordering::Relaxed).wrapping_add(count);
        self.done.store(done, Ordering::Release);
    }
}

impl<W: Wait> Backlog<W> {
    /// Asks the worker, and wakes it if it was asked nothing.
    #[cold]
    pub fn ask(&self, what: Asked) {
        if self.asked.fetch_max(what as u8, Ordering::Release) == NOTHING {
            self.work.wake_all();
        }
    }

    /// Waits until the worker, which alone calls this, is asked something.
    pub fn next(&self) -> Asked {
        let mut asked = NOTHING;
        self.work.wait_until(|| {
            asked = self.asked.swap(NOTHING, Ordering::Acquire);
            asked != NOTHING
        });
        if asked == Asked::All as u8 { Asked::All } else { Asked::Next }
    }
}
