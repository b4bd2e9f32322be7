//! What other CPUs do while the library is in the middle of a call, and what keeps them from it.
//!
//! Under `cfg(shuttle)` the threads, and the locks of the machine itself, are shuttle's, which decides at
//! each lock and at each access to the library's atomics which thread goes on.

extern crate std;

use core::sync::atomic::AtomicBool;
#[cfg(shuttle)]
pub(super) use shuttle::{
    sync::{Mutex, MutexGuard},
    thread_local,
};
use std::{boxed::Box, cell::Cell, sync::PoisonError};
#[cfg(not(shuttle))]
pub(super) use std::{
    sync::{Mutex, MutexGuard},
    thread_local,
};

thread_local! {
    /// What keeps others from acting: locks of the library that this thread holds, read-side sections, and
    /// that they act already.
    static BARS: Cell<usize> = const { Cell::new(0) };
}

pub(super) type Act = Box<dyn FnMut() + Send>;

/// What others do.
#[derive(Default)]
pub(super) struct Others {
    /// Whether they do anything: nearly always not.
    pub acting: AtomicBool,
    act: Mutex<Option<Act>>,
}

impl Others {
    pub fn act(&self) -> MutexGuard<'_, Option<Act>> {
        self.act.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody acts on this thread while it lives.
pub(super) struct Bar(());

impl Bar {
    pub fn new() -> Self {
        BARS.with(|bars| bars.set(bars.get() + 1));
        Self(())
    }

    /// Ends one that was forgotten.
    pub fn lift() {
        drop(Self(()));
    }
}

/// Whether there is one on this thread.
pub(super) fn is_barred() -> bool {
    BARS.with(Cell::get) > 0
}

impl Drop for Bar {
    fn drop(&mut self) {
        BARS.with(|bars| bars.set(bars.get() - 1));
    }
}
