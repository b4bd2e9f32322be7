//! How often somebody had to wait for a lock, counted where it waits: who finds it open pays nothing.

use super::{class::Class, stat};
use crate::arch::cpu;
use core::sync::atomic::{AtomicU64, Ordering};
use spin::mutex::{SpinMutex, SpinMutexGuard};

static WAITS: AtomicU64 = AtomicU64::new(0);

/// Waits for any lock since boot, the vmalloc library's included, on all CPUs.
pub fn total() -> u64 {
    WAITS.load(Ordering::Relaxed)
}

/// Counts one more, and calls `wait`, which waits for a lock of this class, with preemption off.
#[inline]
pub(crate) fn wait<R>(class: &'static Class, wait: impl FnOnce() -> R) -> R {
    WAITS.fetch_add(1, Ordering::Relaxed);
    stat::wait(class, wait)
}

/// Who takes a lock.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiter {
    /// Threads only: one that an interrupt handler waits for would never run.
    Thread,
    /// Interrupt handlers too: the lock turns interrupts off.
    Any,
}

/// Takes the lock, of this class; counts if it is not open at once.
#[inline]
#[track_caller]
pub(super) fn lock<'a, T>(
    lock: &'a SpinMutex<T>,
    class: &'static Class,
    waiter: Waiter,
) -> SpinMutexGuard<'a, T> {
    match lock.try_lock() {
        Some(guard) => guard,
        None => wait_for(lock, class, waiter),
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn wait_for<'a, T>(lock: &'a SpinMutex<T>, class: &'static Class, waiter: Waiter) -> SpinMutexGuard<'a, T> {
    if waiter == Waiter::Thread {
        cpu::assert_no_interrupt("a lock that is held was taken");
    }
    wait(class, || lock.lock())
}
