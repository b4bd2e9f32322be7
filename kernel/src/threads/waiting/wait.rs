//! Waiting for something to become true.

use crate::threads::{
    assert_may_block,
    scheduler::{
        list::{List, WAITING},
        schedule, thread,
    },
};
use crate::{lock_class, sync::IrqLock};

/// Threads that wait for something that others make true. Whoever does so calls
/// [`wake_all`](Self::wake_all) afterwards.
pub struct WaitQueue(IrqLock<List<WAITING>>);

impl WaitQueue {
    /// Nobody waits.
    #[must_use]
    pub const fn new() -> Self {
        Self(IrqLock::new(lock_class!("wait queue"), List::new()))
    }

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
            schedule::wake(thread);
        }
    }
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}
