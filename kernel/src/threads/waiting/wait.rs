//! Waiting for something to become true, or for the turn of others.

use super::context::assert_may_block;
use crate::threads::scheduler::{
    list::{List, WAITING, WaitQueue, Waiting},
    schedule,
    thread::{self, ThreadRef},
    wake,
};
use handover::{Line, Wait, Waiters};

/// Lets others of the same class run first, if there are any in line for this CPU.
///
/// # Panics
/// The caller may not wait: see [`assert_may_block`].
#[track_caller]
pub fn yield_now() {
    assert_may_block("yield_now");
    schedule::yield_now();
}

impl WaitQueue {
    /// Waits until `ready` says so. It is called under the queue's lock, with interrupts off, and takes
    /// no lock.
    ///
    /// # Panics
    /// The caller may not wait: see [`assert_may_block`].
    #[track_caller]
    pub fn wait_until(&self, ready: impl FnMut() -> bool) {
        assert_may_block("WaitQueue::wait_until");
        self.0.wait_until(ready);
    }

    /// Makes all who wait look again. From anywhere, even from interrupts.
    #[track_caller]
    pub fn wake_all(&self) {
        self.0.wake_all();
    }
}

impl Wait for WaitQueue {
    #[track_caller]
    fn wait_until(&self, ready: impl FnMut() -> bool) {
        self.wait_until(ready);
    }

    #[track_caller]
    fn wake_all(&self) {
        self.wake_all();
    }
}

impl Waiters for Waiting {
    type Line = List<WAITING>;

    #[track_caller]
    fn locked<T>(&self, act: impl FnOnce(&mut Self::Line) -> T) -> T {
        act(&mut self.0.lock())
    }

    fn current(&self) -> ThreadRef {
        thread::current()
    }

    fn block(&self) {
        schedule::block();
    }

    fn wake(&self, thread: ThreadRef) {
        wake::wake(thread);
    }
}

impl Line for List<WAITING> {
    type Thread = ThreadRef;

    fn has(&self, thread: ThreadRef) -> bool {
        Self::has(thread)
    }

    fn add(&mut self, thread: ThreadRef) {
        self.push_back(thread);
    }

    fn remove(&mut self, thread: ThreadRef) {
        self.remove_first(|other| other == thread);
    }

    fn pop(&mut self) -> Option<ThreadRef> {
        self.pop()
    }
}
