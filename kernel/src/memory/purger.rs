//! The thread that purges the kernel's instance, so that nobody's allocation waits for it.

use crate::{
    memory,
    threads::{self, SpawnError, WaitQueue},
};
use core::sync::atomic::{AtomicBool, Ordering};

static WANTED: AtomicBool = AtomicBool::new(false);
static QUEUE: WaitQueue = WaitQueue::new();
/// Whether there is the thread.
static RUNS: AtomicBool = AtomicBool::new(false);

/// Starts the thread. Called once, when threads can be.
///
/// # Errors
/// No memory for it.
pub fn init() -> Result<(), SpawnError> {
    let thread = threads::spawn("purge", || -> () {
        loop {
            QUEUE.wait_until(|| WANTED.swap(false, Ordering::Acquire));
            memory::vmalloc().purge();
        }
    })?;
    // It never ends.
    core::mem::forget(thread);
    RUNS.store(true, Ordering::Release);
    Ok(())
}

/// Wakes the thread, in any context; `false` if there is none yet.
pub fn wake() -> bool {
    let runs = RUNS.load(Ordering::Acquire);
    if runs && !WANTED.swap(true, Ordering::Release) {
        QUEUE.wake_all();
    }
    runs
}
