//! A lock that turns preemption off.

use super::{
    Class,
    order::{Noted, Order},
    waits::{self, Waiter},
};
use crate::{arch::cpu::Pin, assert_stays};
use core::ops::{Deref, DerefMut};
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// A spinlock around a value. Whoever holds it stays on its CPU and is not preempted, so that nobody
/// spins for a thread that does not run. Interrupts stay as they are: an interrupt handler must not take it. One that
/// would wait for it panics; debug builds report also one that finds it open.
#[derive(Debug)]
pub struct SpinLock<T> {
    order: Order,
    inner: SpinMutex<T>,
}

impl<T> SpinLock<T> {
    /// An open lock of this class; see [`lock_class!`](crate::lock_class).
    pub const fn new(class: &'static Class, value: T) -> Self {
        Self { order: Order::of(class), inner: SpinMutex::new(value) }
    }

    /// Waits for the lock.
    ///
    /// # Panics
    /// An interrupt handler would have to wait: perhaps for the code that it interrupted.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> SpinLockGuard<'_, T> {
        let pin = Pin::new();
        let order = self.order.acquire();
        SpinLockGuard {
            inner: waits::lock(&self.inner, self.order.class(), Waiter::Thread),
            _order: order,
            _pin: pin,
        }
    }

    /// Waits for the lock, as who has a pin already, which covers the lock.
    ///
    /// # Panics
    /// As [`lock`](Self::lock).
    #[inline]
    #[track_caller]
    pub fn lock_pinned<'a>(&'a self, pin: &'a Pin) -> SpinLockGuard<'a, T, &'a Pin> {
        let order = self.order.acquire();
        SpinLockGuard {
            inner: waits::lock(&self.inner, self.order.class(), Waiter::Thread),
            _order: order,
            _pin: pin,
        }
    }

    /// The value; nobody else can have the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }

    /// The value of a lock that nobody needs any more.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

/// The right to the value; the lock opens when it is dropped. `P` keeps preemption off.
#[must_use]
pub struct SpinLockGuard<'a, T, P = Pin> {
    // Dropped in this order: open first, then let others run.
    inner: SpinMutexGuard<'a, T>,
    _order: Noted,
    _pin: P,
}

impl<T, P> Deref for SpinLockGuard<'_, T, P> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T, P> DerefMut for SpinLockGuard<'_, T, P> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

assert_stays!(SpinLockGuard<'static, u8>, SpinLockGuard<'static, u8, &'static Pin>);
