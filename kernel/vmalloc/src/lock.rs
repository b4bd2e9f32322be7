//! The library's locks: spinlocks that can only be taken pinned.

use crate::platform::{CpuPin, LockClass};
use core::{
    ops::{Deref, DerefMut},
    panic::Location,
};
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
#[cfg(not(any(loom, shuttle)))]
use spin::Spin;
#[cfg(not(loom))]
use spin::mutex::{SpinMutex, SpinMutexGuard};

#[cfg(not(loom))]
type Mutex<T> = SpinMutex<T, Spin>;
#[cfg(not(loom))]
type MutexGuard<'a, T> = SpinMutexGuard<'a, T, Spin>;

/// Lets others run while it waits.
#[cfg(shuttle)]
struct Spin;

#[cfg(shuttle)]
impl spin::RelaxStrategy for Spin {
    fn relax() {
        crate::atomic::spin_loop();
    }
}

/// What a lock can be around.
pub(crate) trait Locked {
    /// Which of the library's locks that is.
    const CLASS: LockClass;
}

/// A spinlock around data. Its holder is pinned for as long, so that nobody waits for a thread that
/// does not run.
// Loom's mutex in the models: loom knows who waits for it, where it would let a spinlock spin for ever.
pub(crate) struct Lock<T>(Mutex<T>);

/// The locked data.
pub(crate) struct Guard<'a, T: Locked, P: CpuPin> {
    // Dropped in this order.
    data: MutexGuard<'a, T>,
    _taken: Taken<'a, P>,
}

/// Tells the machine that the lock was opened.
struct Taken<'a, P: CpuPin> {
    pin: &'a P,
    class: LockClass,
}

impl<T: Locked> Lock<T> {
    /// Waits for the lock. The guard cannot outlive the pin.
    #[inline]
    #[track_caller]
    pub fn lock<'a, P: CpuPin>(&'a self, pin: &'a P) -> Guard<'a, T, P> {
        pin.acquiring(T::CLASS, Location::caller());
        Guard { data: self.take(pin), _taken: Taken { pin, class: T::CLASS } }
    }

    #[cfg(not(loom))]
    #[inline(always)]
    fn take<P: CpuPin>(&self, pin: &P) -> MutexGuard<'_, T> {
        #[cfg(shuttle)]
        crate::atomic::switch();
        match self.0.try_lock() {
            Some(data) => data,
            None => self.wait(pin),
        }
    }

    #[cfg(not(loom))]
    #[cold]
    #[inline(never)]
    fn wait<P: CpuPin>(&self, pin: &P) -> MutexGuard<'_, T> {
        let mut data = None;
        pin.waiting(T::CLASS, || data = Some(self.0.lock()));
        data.unwrap_or_else(|| self.0.lock())
    }

    #[cfg(not(loom))]
    pub const fn new(data: T) -> Self {
        Self(Mutex::new(data))
    }

    #[cfg(not(loom))]
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

/// As above, of loom's mutex.
#[cfg(loom)]
impl<T: Locked> Lock<T> {
    pub fn new(data: T) -> Self {
        Self(Mutex::new(data))
    }

    fn take<P: CpuPin>(&self, _: &P) -> MutexGuard<'_, T> {
        self.0.lock().expect("a model ends with its first panic")
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut().expect("a model ends with its first panic")
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

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    struct Data;

    impl Locked for Data {
        const CLASS: LockClass = LockClass::Arena;
    }

    #[derive(Default)]
    struct Pin(AtomicUsize);

    impl CpuPin for Pin {
        fn cpu(&self) -> usize {
            0
        }

        fn waiting(&self, _: LockClass, wait: impl FnOnce()) {
            self.0.fetch_add(1, Ordering::Relaxed);
            wait();
        }
    }

    /// Seen failing with no word to the pin.
    #[test]
    fn who_finds_the_lock_taken_says_so_once() {
        let (lock, holder, waiter) = (Lock::new(Data), Pin::default(), Pin::default());
        std::thread::scope(|scope| {
            let guard = lock.lock(&holder);
            scope.spawn(|| drop(lock.lock(&waiter)));
            let start = Instant::now();
            while waiter.0.load(Ordering::Relaxed) == 0 && start.elapsed() < Duration::from_secs(20) {
                std::thread::yield_now();
            }
            drop(guard);
        });
        drop(lock.lock(&holder));
        assert_eq!((holder.0.into_inner(), waiter.0.into_inner()), (0, 1));
    }
}
