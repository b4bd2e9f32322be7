//! The threads that live, counted, and those that ended, on their way to the reaper.
//!
//! Who leaves a thread that ended hands it over here, with interrupts off; the lock is the list's.

use super::{
    list::{List, READY, WaitQueue},
    thread::ThreadRef,
};
use crate::{lock_class, sync::IrqLock};
use core::sync::atomic::{AtomicUsize, Ordering};
use handover::{Handover, Queue};

/// Threads spawned and not gone yet.
static LIVING: AtomicUsize = AtomicUsize::new(0);
/// Ended threads, on whose stacks nothing runs any more, on their way to the reaper.
pub(in crate::threads) static ENDED: Handover<Ended, WaitQueue> = Handover::new(
    Ended(IrqLock::new(lock_class!("ended threads"), List::new())),
    WaitQueue::new(),
    WaitQueue::new(),
);

pub(in crate::threads) struct Ended(IrqLock<List<READY>>);

impl Queue for Ended {
    type Item = ThreadRef;

    fn push(&self, thread: ThreadRef) {
        self.0.lock().push_back(thread);
    }

    fn pop(&self) -> Option<ThreadRef> {
        self.0.lock().pop()
    }
}

/// A thread was spawned.
pub(in crate::threads) fn born() {
    LIVING.fetch_add(1, Ordering::Relaxed);
}

/// Takes over a thread that ended, when its stack was left.
pub(in crate::threads) fn bury(thread: ThreadRef) {
    ENDED.give(thread);
}

/// Threads spawned whose stacks were not given back yet.
pub fn living() -> usize {
    LIVING.load(Ordering::Relaxed)
}

/// A thread's stack was given back.
pub(in crate::threads) fn gone() {
    LIVING.fetch_sub(1, Ordering::Relaxed);
}
