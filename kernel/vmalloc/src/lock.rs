//! The library's locks: spinlocks that can only be taken pinned.

use crate::platform::{CpuPin, LockClass};
use core::{
    ops::{Deref, DerefMut},
    panic::Location,
};
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// What a lock can be around.
pub(crate) trait Locked {
    /// Which of the library's locks that is.
    const CLASS: LockClass;
}

/// A spinlock around data. Its holder is pinned for as long, so that nobody waits for a thread that
/// does not run.
pub(crate) struct Lock<T>(SpinMutex<T>);

/// The locked data.
pub(crate) struct Guard<'a, T: Locked, P: CpuPin> {
    // Dropped in this order.
    data: SpinMutexGuard<'a, T>,
    _taken: Taken<'a, P>,
}

/// Tells the machine that the lock was opened.
struct Taken<'a, P: CpuPin> {
    pin: &'a P,
    class: LockClass,
}

impl<T: Locked> Lock<T> {
    pub const fn new(data: T) -> Self {
        Self(SpinMutex::new(data))
    }

    /// Waits for the lock. The guard cannot outlive the pin.
    #[inline]
    #[track_caller]
    pub fn lock<'a, P: CpuPin>(&'a self, pin: &'a P) -> Guard<'a, T, P> {
        pin.acquiring(T::CLASS, Location::caller());
        Guard { data: self.0.lock(), _taken: Taken { pin, class: T::CLASS } }
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<P: CpuPin> Drop for Taken<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.pin.released(self.class);
    }
}

impl<T: Locked, P: CpuPin> Deref for Guard<'_, T, P> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: Locked, P: CpuPin> DerefMut for Guard<'_, T, P> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}
