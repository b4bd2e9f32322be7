//! Threads that purge: each serves the [`PurgeWish`] of an instance, until it is stopped.
//!
//! Lock: the wait queue's, which whoever wishes takes too, in any context.

use crate::{
    memory::{self, PurgeWish, purge_wish},
    sync::ExclusiveGuard,
    threads::{Builder, JoinHandle, SpawnError, WaitQueue},
};
use core::fmt;

/// Where all threads that purge wait, each for its own wish: there are a few at most.
static WISHES: WaitQueue = WaitQueue::new();

/// A thread that purges when it is wished.
#[must_use]
pub struct Purger {
    wish: &'static PurgeWish,
    thread: JoinHandle<()>,
    server: ExclusiveGuard<'static>,
}

/// Why there is no thread that purges.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Another one serves the wish.
    Served,
    /// It could not be made.
    Spawn(SpawnError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served => f.write_str("another one is under way"),
            Self::Spawn(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StartError {}

impl From<SpawnError> for StartError {
    fn from(error: SpawnError) -> Self {
        Self::Spawn(error)
    }
}

impl Purger {
    /// Starts a thread that calls `purge` each time the wish is there. A wish has one thread.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        name: &str,
        wish: &'static PurgeWish,
        purge: impl Fn() + Send + 'static,
    ) -> Result<Self, StartError> {
        // Before the thread runs for the first time: it may be stopped before that.
        let server = wish.serve().ok_or(StartError::Served)?;
        let serve = move || {
            loop {
                WISHES.wait_until(|| wish.take());
                if !wish.is_served() {
                    return;
                }
                purge();
            }
        };
        match Builder::new(name).spawn(serve) {
            Ok(thread) => Ok(Self { wish, thread, server }),
            Err(error) => {
                wish.end();
                Err(error.into())
            }
        }
    }

    /// Ends the thread, and waits until it is gone.
    pub fn stop(self) {
        let Self { wish, thread, server } = self;
        wish.end();
        thread.join();
        // Not before: the thread would go on for the next one.
        drop(server);
    }
}

/// Wakes the threads that purge, in any context.
pub(crate) fn wake() {
    WISHES.wake_all();
}

/// Starts the thread of the kernel's instance. Called once, when threads can be.
///
/// # Errors
/// No memory for it.
pub(super) fn init() -> Result<(), StartError> {
    let purger = Purger::start("purge", &purge_wish::KERNEL, || {
        memory::vmalloc().purge();
    })?;
    // It never ends.
    core::mem::forget(purger);
    Ok(())
}
