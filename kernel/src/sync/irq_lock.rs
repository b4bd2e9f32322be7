//! A lock that turns interrupts off.

use super::{
    Class,
    order::{Noted, Order},
    waits::{self, Waiter},
};
use crate::{
    arch::cpu::{Pin, interrupt_flag::InterruptsOff},
    assert_stays,
};
use core::ops::{Deref, DerefMut};
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// A spinlock around a value that interrupts take too: they are off while it is held, and so is
/// preemption. To be held for some hundred instructions at most.
#[derive(Debug)]
pub struct IrqLock<T> {
    order: Order,
    inner: SpinMutex<T>,
}

impl<T> IrqLock<T> {
    /// An open lock of this class; see [`lock_class!`](crate::lock_class).
    pub const fn new(class: &'static Class, value: T) -> Self {
        Self { order: Order::of(class), inner: SpinMutex::new(value) }
    }

    /// Waits for the lock.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> IrqLockGuard<'_, T> {
        let pin = Pin::new();
        let off = InterruptsOff::new();
        let order = self.order.acquire();
        IrqLockGuard {
            inner: waits::lock(&self.inner, self.order.class(), Waiter::Any),
            _order: order,
            _off: off,
            _pin: pin,
        }
    }

    /// Opens the lock, whoever holds it.
    ///
    /// # Safety
    /// Who holds it never goes on.
    pub unsafe fn force_unlock(&self) {
        if self.inner.is_locked() {
            // SAFETY: promised by the caller.
            unsafe { self.inner.force_unlock() };
        }
    }
}

/// The right to the value; the lock opens when it is dropped. Of several the one that was made later is dropped first.
#[must_use]
pub struct IrqLockGuard<'a, T> {
    // Dropped in this order: the pin last, because a thread switch that was put off for it is made
    // only with interrupts on.
    inner: SpinMutexGuard<'a, T>,
    _order: Noted,
    _off: InterruptsOff,
    _pin: Pin,
}

impl<T> Deref for IrqLockGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for IrqLockGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

assert_stays!(IrqLockGuard<'static, u8>);
