//! What others do meanwhile, at certain moments; and whether the running code may wait for them.

extern crate std;

use super::Machine;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{boxed::Box, sync::Mutex};

/// When others do something.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A CPU has flushed everything.
    Flush,
    /// A purge is over, in an instance that is traced.
    Purged,
    /// The library asks for a table.
    Table,
    /// The library asks how many frames are free.
    Count,
}

type Work = (Moment, Box<dyn FnMut() + Send>);

/// Pauses after which a test has hung.
const FOR_EVER: usize = 10_000_000;

pub(super) struct Moments {
    /// Out of here while it is done.
    work: Mutex<Option<Work>>,
    refuses: AtomicBool,
    pauses: AtomicUsize,
    hidden: AtomicBool,
}

impl Moments {
    pub fn new() -> Self {
        Self {
            work: Mutex::new(None),
            refuses: AtomicBool::new(false),
            pauses: AtomicUsize::new(0),
            hidden: AtomicBool::new(false),
        }
    }

    fn work(&self) -> std::sync::MutexGuard<'_, Option<Work>> {
        self.work.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether the library is not told how many frames are free.
    pub fn hides_frames(&self) -> bool {
        self.hidden.load(Ordering::Relaxed)
    }

    pub fn pause(&self) -> bool {
        assert!(self.pauses.fetch_add(1, Ordering::Relaxed) < FOR_EVER, "it waits for ever");
        !self.refuses.load(Ordering::Relaxed)
    }
}

impl Machine {
    /// Has `work` done, as by others, at each such moment that follows.
    pub(crate) fn at_each(&self, moment: Moment, work: impl FnMut() + Send + 'static) {
        *self.moments.work() = Some((moment, Box::new(work)));
    }

    pub(super) fn happened(&self, moment: Moment) {
        let due = self.moments.work().take_if(|work| work.0 == moment);
        if let Some(mut due) = due {
            due.1();
            self.moments.work().get_or_insert(due);
        }
    }

    /// Tells the library from now on that all frames may be free, as machines that do not count them do.
    pub fn hide_free_frames(&self) {
        self.moments.hidden.store(true, Ordering::Relaxed);
    }

    /// How often the library has tried to wait for others where it was not pinned.
    pub(crate) fn pauses(&self) -> usize {
        self.moments.pauses.load(Ordering::Relaxed)
    }

    /// Makes the calls that follow run where the caller may not wait for others, or, with `false`, may.
    pub fn refuse_pause(&self, refuses: bool) {
        self.moments.refuses.store(refuses, Ordering::Relaxed);
    }
}
