//! Waiting for something to become true, or for the turn of others.

use super::context::assert_may_block;
use crate::threads::scheduler::{
    list::{List, WAITING, WaitQueue},
    schedule, thread, wake,
};
use handover::Wait;

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
    pub fn wait_until(&self, mut ready: impl FnMut() -> bool) {
        assert_may_block("WaitQueue::wait_until");
        let this = thread::current();
        loop {
            {
                // Who makes it true takes this lock afterwards: either `ready` sees it, or this
                // thread is seen in the list.
                let mut waiting = self.0.lock();
                if ready() {
                    if List::<WAITING>::has(this) {
                        waiting.remove_first(|thread| thread == this);
                    }
                    return;
                }
                if !List::<WAITING>::has(this) {
                    waiting.push_back(this);
                }
            }
            schedule::block();
        }
    }

    /// Makes all who wait look again. From anywhere, even from interrupts.
    pub fn wake_all(&self) {
        // Under the lock: a thread taken out of the list cannot return, and end, before it has the lock.
        let mut waiting = self.0.lock();
        while let Some(thread) = waiting.pop() {
            wake::wake(thread);
        }
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
