//! The end of threads: nobody can give back the stack it runs on, so another thread does.

use super::{
    SpawnError,
    list::{List, READY},
    spawn::Builder,
    thread::ThreadRef,
    wait::WaitQueue,
};
use crate::{lock_class, sync::IrqLock};
use core::sync::atomic::{AtomicUsize, Ordering};
use handover::{Handover, Queue, Wait};

/// Threads spawned and not gone yet.
static LIVING: AtomicUsize = AtomicUsize::new(0);
/// Ended threads, on whose stacks nothing runs any more, on their way to the reaper.
static ENDED: Handover<Ended, WaitQueue> = Handover::new(
    Ended(IrqLock::new(lock_class!("ended threads"), List::new())),
    WaitQueue::new(),
    WaitQueue::new(),
);

struct Ended(IrqLock<List<READY>>);

impl Queue for Ended {
    type Item = ThreadRef;

    fn push(&self, thread: ThreadRef) {
        self.0.lock().push_back(thread);
    }

    fn pop(&self) -> Option<ThreadRef> {
        self.0.lock().pop()
    }
}

impl Wait for WaitQueue {
    fn wait_until(&self, ready: impl FnMut() -> bool) {
        self.wait_until(ready);
    }

    fn wake_all(&self) {
        self.wake_all();
    }
}

/// Makes the thread that this is all about.
///
/// # Errors
/// No memory for it.
pub(super) fn init() -> Result<(), SpawnError> {
    Builder::new("reaper").spawn(run).map(drop)
}

/// A thread was spawned.
pub(super) fn born() {
    LIVING.fetch_add(1, Ordering::Relaxed);
}

/// Takes over a thread that ended, when its stack was left.
pub(super) fn bury(thread: ThreadRef) {
    ENDED.give(thread);
}

fn run() {
    loop {
        ENDED.serve(|thread| {
            let stack = thread.own_stack.lock().take();
            drop(stack);
            LIVING.fetch_sub(1, Ordering::Relaxed);
            // Release: who sees it also sees all that the thread did.
            thread.gone.store(true, Ordering::Release);
            thread.joiners.wake_all();
            // SAFETY: `spawn` keeps all threads that end; it was in no list but the one of the ended.
            unsafe { thread.release() };
        });
    }
}

/// Threads spawned whose stacks were not given back yet.
pub fn living() -> usize {
    LIVING.load(Ordering::Relaxed)
}

/// Waits until all threads that ended have given everything back, those too that nobody joins.
///
/// # Panics
/// The caller may not wait: see [`assert_may_block`](super::assert_may_block).
#[track_caller]
pub fn settle() {
    super::assert_may_block("settle");
    ENDED.settle();
}
