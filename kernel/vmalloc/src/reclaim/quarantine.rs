//! The quarantine: freed pages that nobody uses again before a set number of others were freed.
//!
//! It is for hunting a pointer into freed memory: while the page waits, a use of the pointer faults, or hits
//! what nobody owns. Pages in it are still *flushing*, though every CPU has flushed them. A purge releases
//! those that an earlier one flushed, once enough were freed since the end of that one. Each purge flushes
//! everything, which begins a new epoch, so that stamps tell purges apart.
//!
//! An allocation that would be refused, [`trim`](crate::Vmalloc::trim) and [`shrink`](crate::Vmalloc::shrink) end the wait
//! of all pages.

use crate::{
    Stamp,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    tlb::AtomicStamp,
};

/// How long freed pages wait, and which of them do. Only who has the turn uses it, but for the length.
pub(super) struct Quarantine {
    /// Pages that are freed before a page may be used again. Others set it at any time.
    pages: AtomicUsize,
    /// As many as there were when the last purge began, or were set during it if there were none: it goes by these until it
    /// ends, so that what it decides of one block holds for the flush that follows.
    length: AtomicUsize,
    /// What was unmapped before this stamp was taken has waited long enough.
    passed: AtomicStamp,
    /// The last stamp of some purge.
    marker: AtomicStamp,
    /// Pages that had been retired when that purge ended.
    marked_at: AtomicU64,
    /// Nothing waits any longer.
    lifted: AtomicBool,
}

impl Quarantine {
    pub fn new() -> Self {
        Self {
            pages: AtomicUsize::new(0),
            length: AtomicUsize::new(0),
            passed: AtomicStamp::new(Stamp::NEVER),
            marker: AtomicStamp::new(Stamp::NEVER),
            marked_at: AtomicU64::new(0),
            lifted: AtomicBool::new(false),
        }
    }

    /// Returns how many pages are freed before a page may be used again; 0 if none need to be.
    pub fn pages(&self) -> usize {
        self.pages.load(Relaxed)
    }

    pub fn set_pages(&self, pages: usize) {
        self.pages.store(pages, Relaxed);
    }

    /// Returns whether freed pages have to wait for others, as far as the purge under way goes. Once they have to, they do until
    /// it ends.
    pub fn is_on(&self) -> bool {
        if self.length.load(Relaxed) == 0 {
            self.length.store(self.pages(), Relaxed);
        }
        self.length.load(Relaxed) > 0 && !self.lifted.load(Relaxed)
    }

    /// Returns whether freed pages have to wait for others from now on.
    pub fn goes_on(&self) -> bool {
        self.pages() > 0 && !self.lifted.load(Relaxed)
    }

    /// Returns whether what was unmapped before the stamp was taken has waited long enough, for the purge under way.
    pub fn has_passed(&self, stamp: Stamp) -> bool {
        !self.is_on() || stamp <= self.passed.load()
    }

    /// Calls `purge`, for which nothing waits any longer.
    pub fn lift<T>(&self, purge: impl FnOnce() -> T) -> T {
        self.lifted.store(true, Relaxed);
        let purged = purge();
        self.lifted.store(false, Relaxed);
        purged
    }

    /// Begins a purge. Lets go what was flushed by the purge that was marked, if as many pages as have to be were retired
    /// since. So many were since the instance was made.
    pub fn begin_purge(&self, retired: u64) {
        let length = self.pages();
        self.length.store(length, Relaxed);
        if retired.saturating_sub(self.marked_at.load(Relaxed)) >= length as u64 {
            self.passed.store(self.marker.load());
        }
    }

    /// Marks the purge that ends, which flushed what was unmapped before `last`, if the one that was marked is passed.
    pub fn end_purge(&self, last: Stamp, retired: u64) {
        if last != Stamp::NEVER && self.passed.load() == self.marker.load() {
            self.marker.store(last);
            self.marked_at.store(retired, Relaxed);
        }
    }
}
