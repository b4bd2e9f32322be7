//! How threads and CPUs wait for each other: the protocols of a kernel, apart from its threads, locks and CPUs.
//!
//! | for | there is |
//! |---|---|
//! | things handed over to a worker, and waiting until it is done with all of them | [`Handover`] |
//! | things that wait for a worker of their own, in batches, and waiting for the first so many | [`Backlog`] |
//! | waiting until something is true, and waking all who do | [`Wait`], of whatever is [`Waiters`] |
//! | whether a thread runs, waits, or was woken | [`State`] |
//! | threads in line for a CPU, and telling the CPU of one | [`RunQueue`] |
//! | having a worker look once more | [`Wish`] |
//! | waiting until nobody can still be looking at what was taken out of reach | [`GracePeriod`], [`Passes`] |
//!
//! The crate knows threads and locks by its traits alone. Built with `--cfg loom` it takes its atomics from loom, which
//! explores every interleaving of a few threads in its tests.
#![no_std]

#[cfg(not(loom))]
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

mod backlog;
mod grace;
#[cfg(all(test, loom))]
mod models;
mod run_queue;
mod state;
mod waiters;
mod wish;

pub use backlog::{Asked, Backlog};
pub use grace::{GracePeriod, Passes};
pub use run_queue::{Class, End, Lines, Row, Rows, RunQueue, Runnable};
pub use state::State;
pub use waiters::{Line, Waiters};
pub use wish::Wish;

/// A queue that any CPU may use at any time: what was added first comes out first.
pub trait Queue {
    /// What is queued.
    type Item;

    /// Adds an item.
    fn push(&self, item: Self::Item);

    /// Takes an item; `None` if there is none.
    fn pop(&self) -> Option<Self::Item>;
}

/// Waiting until something is true.
pub trait Wait {
    /// Returns when `ready` says so, which is asked again after each [`wake_all`](Self::wake_all).
    fn wait_until(&self, ready: impl FnMut() -> bool);

    /// Makes all who wait ask again. Whoever makes true what others wait for calls it afterwards.
    fn wake_all(&self);
}

/// Items on their way from those who give them to the worker, and those that the worker is at. [`give`](Self::give) may be
/// called on any CPU, [`serve`](Self::serve) by one worker at a time, [`settle`](Self::settle) by anybody who may wait.
pub struct Handover<Q, W> {
    queue: Q,
    /// Items given so far. Each is counted before it is queued, so that whoever settles counts all that are queued before its
    /// own.
    given: AtomicUsize,
    /// Items that the worker is done with.
    done: AtomicUsize,
    /// Whether items were queued since the worker last looked.
    queued: AtomicBool,
    work: W,
    settled: W,
}

impl<Q, W> Handover<Q, W> {
    /// A handover by `queue`, with nothing on its way. The worker waits in `work`, who settles in `settled`.
    #[cfg(not(loom))]
    pub const fn new(queue: Q, work: W, settled: W) -> Self {
        let (given, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { queue, given, done, queued: AtomicBool::new(false), work, settled }
    }

    /// A handover by `queue`, with nothing on its way. Loom's atomics cannot be made in a constant.
    #[cfg(loom)]
    pub fn new(queue: Q, work: W, settled: W) -> Self {
        let (given, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { queue, given, done, queued: AtomicBool::new(false), work, settled }
    }
}

impl<Q: Queue, W: Wait> Handover<Q, W> {
    /// Hands an item over.
    pub fn give(&self, item: Q::Item) {
        self.given.fetch_add(1, Ordering::Relaxed);
        self.queue.push(item);
        // Release, with the worker's swap: who finds it set finds the item. Whoever set it wakes the worker.
        if !self.queued.swap(true, Ordering::Release) {
            self.work.wake_all();
        }
    }

    /// Waits until items are queued, and calls `each` with every one there is; what the worker does over and over.
    pub fn serve(&self, mut each: impl FnMut(Q::Item)) {
        self.work.wait_until(|| self.queued.swap(false, Ordering::Acquire));
        while let Some(item) = self.queue.pop() {
            each(item);
            // Release: who sees that an item is done sees what was done.
            self.done.fetch_add(1, Ordering::Release);
            self.settled.wake_all();
        }
    }

    /// Waits until the worker is done with all that was given before the call, however much is given meanwhile.
    pub fn settle(&self) {
        let given = self.given.load(Ordering::Relaxed);
        // They come in their order, and are numbered around the end of the counts.
        let is_behind = |done: usize| given.wrapping_sub(done).cast_signed() > 0;
        self.settled.wait_until(|| !is_behind(self.done.load(Ordering::Acquire)));
    }
}
