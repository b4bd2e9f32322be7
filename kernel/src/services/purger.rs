//! Threads that purge: each serves the [`PurgeWish`] of an instance, until it is stopped.
//!
//! Lock: the wait queue's, which whoever wishes takes too, in any context.

use crate::{
    memory::{self, PurgeWish, purge_wish},
    threads::{self, SpawnError, WaitQueue},
};

/// Where all threads that purge wait, each for its own wish: there are two at most.
static WISHES: WaitQueue = WaitQueue::new();

/// Calls `purge` each time the wish is there, until [`stop`]. Called by the thread that is to purge.
pub fn serve(wish: &PurgeWish, purge: impl Fn()) {
    wish.set_served(true);
    loop {
        WISHES.wait_until(|| wish.take());
        if !wish.is_served() {
            return;
        }
        purge();
    }
}

/// Ends the [`serve`] of this wish.
pub fn stop(wish: &PurgeWish) {
    wish.set_served(false);
    wish.want();
}

/// Wakes the threads that purge, in any context.
pub(crate) fn wake() {
    WISHES.wake_all();
}

/// Starts the thread of the kernel's instance. Called once, when threads can be.
///
/// # Errors
/// No memory for it.
pub(super) fn init() -> Result<(), SpawnError> {
    let thread = threads::spawn("purge", || {
        serve(&purge_wish::KERNEL, || {
            memory::vmalloc().purge();
        });
    })?;
    // It never ends.
    core::mem::forget(thread);
    Ok(())
}
