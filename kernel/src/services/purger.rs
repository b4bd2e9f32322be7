//! Threads that purge, so that nobody's allocation waits for it.

use crate::{
    memory::{self, Purger},
    threads::{self, SpawnError, WaitQueue},
};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A thread that purges an instance, and how the instance wakes it.
pub struct PurgeThread {
    wanted: AtomicBool,
    queue: WaitQueue,
    /// Whether there is the thread.
    serves: AtomicBool,
    /// 0: whoever frees purges.
    drain: AtomicUsize,
}

impl PurgeThread {
    /// One that no thread serves yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            wanted: AtomicBool::new(false),
            queue: WaitQueue::new(),
            serves: AtomicBool::new(false),
            drain: AtomicUsize::new(1),
        }
    }

    /// Calls `purge` each time it is wanted, until [`stop`](Self::stop).
    pub fn serve(&self, purge: impl Fn()) {
        self.serves.store(true, Ordering::Release);
        loop {
            self.queue.wait_until(|| self.wanted.swap(false, Ordering::Acquire));
            if !self.serves.load(Ordering::Acquire) {
                return;
            }
            purge();
        }
    }

    /// Ends the thread's [`serve`](Self::serve).
    pub fn stop(&self) {
        self.serves.store(false, Ordering::Release);
        self.wanted.store(true, Ordering::Release);
        self.queue.wake_all();
    }

    /// Whether the thread is used; 0: whoever frees purges.
    pub fn drain(&self) -> &AtomicUsize {
        &self.drain
    }
}

impl Purger for PurgeThread {
    /// Wakes the thread; `false` if there is none, or it is not used.
    fn wake(&self) -> bool {
        let serves = self.serves.load(Ordering::Acquire) && self.drain.load(Ordering::Relaxed) != 0;
        if serves && !self.wanted.swap(true, Ordering::Release) {
            self.queue.wake_all();
        }
        serves
    }
}

impl Default for PurgeThread {
    fn default() -> Self {
        Self::new()
    }
}

/// The kernel's own instance's.
pub static KERNEL: PurgeThread = PurgeThread::new();

/// Starts the thread of the kernel's instance. Called once, when threads can be.
///
/// # Errors
/// No memory for it.
pub(super) fn init() -> Result<(), SpawnError> {
    let thread = threads::spawn("purge", || {
        KERNEL.serve(|| {
            memory::vmalloc().purge();
        });
    })?;
    // It never ends.
    core::mem::forget(thread);
    Ok(())
}
