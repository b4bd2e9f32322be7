//! The library's locks: spinlocks that can only be taken pinned.

use crate::platform::CpuPin;
use core::{
    marker::PhantomData,
    ops::{Deref, DerefMut},
};
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// A spinlock around data. Its holder is pinned for as long, so that nobody waits for a thread that
/// does not run.
pub(crate) struct Lock<T>(SpinMutex<T>);

/// The locked data.
pub(crate) struct Guard<'a, T> {
    data: SpinMutexGuard<'a, T>,
    pinned: PhantomData<&'a ()>,
}

impl<T> Lock<T> {
    pub const fn new(data: T) -> Self {
        Self(SpinMutex::new(data))
    }

    /// Waits for the lock. The guard cannot outlive the pin.
    #[inline]
    pub fn lock<'a>(&'a self, _pin: &'a impl CpuPin) -> Guard<'a, T> {
        Guard { data: self.0.lock(), pinned: PhantomData }
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}
