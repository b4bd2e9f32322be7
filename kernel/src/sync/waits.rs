//! How often somebody had to wait for a lock, counted where it waits: who finds it open pays nothing.

use core::sync::atomic::{AtomicU64, Ordering};
use spin::mutex::{SpinMutex, SpinMutexGuard};

static WAITS: AtomicU64 = AtomicU64::new(0);

/// Waits for any lock since boot, the vmalloc library's included, on all CPUs.
pub fn total() -> u64 {
    WAITS.load(Ordering::Relaxed)
}

/// Counts one more.
#[inline]
pub fn note() {
    WAITS.fetch_add(1, Ordering::Relaxed);
}

/// Takes the lock; counts if it is not open at once.
#[inline]
pub(super) fn lock<T>(lock: &SpinMutex<T>) -> SpinMutexGuard<'_, T> {
    match lock.try_lock() {
        Some(guard) => guard,
        None => wait(lock),
    }
}

#[cold]
#[inline(never)]
fn wait<T>(lock: &SpinMutex<T>) -> SpinMutexGuard<'_, T> {
    note();
    lock.lock()
}
