//! Who reads what may be unlinked, and waiting for it: grace periods, between threads of the host too.

extern crate std;

use super::Machine;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::{cell::Cell, sync::Mutex, thread};

std::thread_local! {
    /// Readers of this thread.
    static MINE: Cell<usize> = const { Cell::new(0) };
}

/// Counts of readers, by the phase in which they began.
pub(super) struct Readers {
    phase: AtomicUsize,
    counts: [AtomicUsize; 2],
    periods: Mutex<usize>,
    refuses: AtomicBool,
    /// Whether periods are to last, and whether one does.
    held: AtomicBool,
    waiting: AtomicBool,
}

/// A reader: while it lives no grace period is over that began meanwhile.
pub(crate) struct Reading<'m>(&'m AtomicUsize);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        MINE.set(MINE.get() - 1);
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Readers {
    pub fn new() -> Self {
        Self {
            phase: AtomicUsize::new(0),
            counts: [const { AtomicUsize::new(0) }; 2],
            periods: Mutex::new(0),
            refuses: AtomicBool::new(false),
            held: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
        }
    }

    pub fn read(&self) -> Reading<'_> {
        MINE.set(MINE.get() + 1);
        let count = &self.counts[self.phase.load(Ordering::SeqCst)];
        count.fetch_add(1, Ordering::SeqCst);
        Reading(count)
    }

    pub fn synchronize(&self) -> bool {
        assert_eq!(MINE.get(), 0, "who waits for readers is one");
        if self.refuses.load(Ordering::SeqCst) {
            return false;
        }
        let mut periods = self.periods.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.waiting.store(true, Ordering::SeqCst);
        while self.held.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        self.waiting.store(false, Ordering::SeqCst);
        // A reader may have looked at the phase long before it counts itself: two phases see all of them.
        for _ in 0..2 {
            let count = &self.counts[self.phase.fetch_xor(1, Ordering::SeqCst)];
            while count.load(Ordering::SeqCst) > 0 {
                thread::yield_now();
            }
        }
        *periods += 1;
        true
    }
}

impl Machine {
    /// Whether grace periods are refused from now on.
    pub fn refuse_grace(&self, refuses: bool) {
        self.readers.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Whether grace periods last from now on, until this is called again.
    pub fn hold_grace(&self, held: bool) {
        self.readers.held.store(held, Ordering::SeqCst);
    }

    /// Whether somebody waits for a grace period that lasts.
    pub fn is_waiting(&self) -> bool {
        self.readers.waiting.load(Ordering::SeqCst)
    }

    /// Grace periods so far.
    pub fn grace_periods(&self) -> usize {
        *self.readers.periods.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
