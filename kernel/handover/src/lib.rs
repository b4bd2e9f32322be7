//! Things handed over to a worker, and waiting until the worker is done with all of them.
//!
//! [`give`](Handover::give) may be called on any CPU, [`serve`](Handover::serve) by one worker at a time,
//! [`settle`](Handover::settle) by anybody who may wait. The file knows threads and locks only by the traits
//! [`Queue`] and [`Wait`], so that `kernel/vmalloc/interleavings` can explore it as it is.

use super::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A queue that any CPU may use at any time.
pub(crate) trait Queue {
    /// What is queued.
    type Item;

    /// Adds an item.
    fn push(&self, item: Self::Item);

    /// Takes an item; `None` if there is none.
    fn pop(&self) -> Option<Self::Item>;
}

/// Waiting until something is true.
pub(crate) trait Wait {
    /// Returns when `ready` says so, which is asked again after each [`wake_all`](Self::wake_all).
    fn wait_until(&self, ready: impl FnMut() -> bool);

    /// Makes all who wait ask again. Whoever makes true what others wait for calls it afterwards.
    fn wake_all(&self);
}

/// Items on their way from those who give them to the worker, and those that the worker is at.
pub(crate) struct Handover<Q, W> {
    queue: Q,
    /// Items given that the worker is not done with. Each is counted before it is queued: else the worker could be
    /// done with it first, so that a count below zero is seen, and becomes zero without anybody being woken.
    pending: AtomicUsize,
    /// Whether items were queued since the worker last looked.
    queued: AtomicBool,
    work: W,
    settled: W,
}

impl<Q, W> Handover<Q, W> {
    /// Nothing is on its way. `pending` is 0 and `queued` is false; they are arguments because loom's atomics
    /// cannot be made in a constant.
    pub(crate) const fn new(queue: Q, pending: AtomicUsize, queued: AtomicBool, work: W, settled: W) -> Self {
        Self { queue, pending, queued, work, settled }
    }
}

impl<Q: Queue, W: Wait> Handover<Q, W> {
    /// Hands an item over.
    pub(crate) fn give(&self, item: Q::Item) {
        self.pending.fetch_add(1, Ordering::Relaxed);
        self.queue.push(item);
        // Release, with the worker's swap: who finds it set finds the item. Whoever set it wakes the worker.
        if !self.queued.swap(true, Ordering::Release) {
            self.work.wake_all();
        }
    }

    /// Waits until items are queued, and calls `each` with every one there is; what the worker does over and over.
    pub(crate) fn serve(&self, mut each: impl FnMut(Q::Item)) {
        self.work.wait_until(|| self.queued.swap(false, Ordering::Acquire));
        while let Some(item) = self.queue.pop() {
            each(item);
            // Release: who sees that all is done sees what was done.
            self.pending.fetch_sub(1, Ordering::Release);
            self.settled.wake_all();
        }
    }

    /// Waits until the worker is done with all that was given before the call.
    pub(crate) fn settle(&self) {
        self.settled.wait_until(|| self.pending.load(Ordering::Acquire) == 0);
    }
}
