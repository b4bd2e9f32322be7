//! How often somebody had to wait for a lock, counted where it waits: who finds it open pays nothing.

use crate::arch::cpu;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::mutex::{SpinMutex, SpinMutexGuard};

static WAITS: AtomicU64 = AtomicU64::new(0);

/// Waits for any lock since boot, the vmalloc library's included, on all CPUs.
pub fn total() -> u64 {
    WAITS.load(Ordering::Relaxed)
}

/// Counts one more.
#[inline]
pub(crate) fn note() {
    WAITS.fetch_add(1, Ordering::Relaxed);
}

/// Who takes a lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    /// Threads only: one that an interrupt handler waits for would never run.
    Thread,
    /// Interrupt handlers too: the lock turns interrupts off.
    Any,
}

/// Takes the lock; counts if it is not open at once.
#[inline]
#[track_caller]
pub(super) fn lock<T>(lock: &SpinMutex<T>, waiter: Waiter) -> SpinMutexGuard<'_, T> {
    match lock.try_lock() {
        Some(guard) => guard,
        None => wait(lock, waiter),
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn wait<T>(lock: &SpinMutex<T>, waiter: Waiter) -> SpinMutexGuard<'_, T> {
    if waiter == Waiter::Thread {
        cpu::assert_no_interrupt("a lock that is held was taken");
    }
    note();
    lock.lock()
}
