//! What one thread at a time may do, while others are refused and do not wait.

use core::sync::atomic::{AtomicBool, Ordering};

/// A right that one thread has at a time. It may sleep with it, and allocate.
#[derive(Debug, Default)]
pub struct Exclusive(AtomicBool);

/// The right, until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct ExclusiveGuard<'a>(&'a AtomicBool);

impl Exclusive {
    /// Makes one that nobody has.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Takes the right; `None` if somebody has it.
    pub fn try_take(&self) -> Option<ExclusiveGuard<'_>> {
        (!self.0.swap(true, Ordering::Acquire)).then(|| ExclusiveGuard(&self.0))
    }
}

impl Drop for ExclusiveGuard<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
