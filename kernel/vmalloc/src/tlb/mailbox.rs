//! The pages that others ask a CPU to flush: some slots, each for a range, and a count of the posts.
//!
//! A range is in its slot before its post is counted. The CPU reads the count, then empties the slots, then
//! flushes, then confirms the count it read: so a post is confirmed only when its pages are flushed. Who
//! finds no slot asks for everything.

use crate::atomic::{AtomicBool, AtomicU64, Ordering};
use core::ops::Range;

/// Ranges that a CPU can be asked to flush at once.
const SLOTS: usize = 4;
/// A slot holds the first page's number above this, and the number of pages below.
const COUNT_BITS: u32 = 12;
pub(super) const PAGE_SHIFT: u32 = 12;
const _: () = assert!(64 - PAGE_SHIFT + COUNT_BITS <= 64);

/// The ranges that a CPU is asked to flush. Every CPU posts to it; the one that it belongs to serves it, with
/// interrupts off.
#[cfg_attr(loom, derive(Default))]
pub(crate) struct Mailbox {
    posted: AtomicU64,
    served: AtomicU64,
    slots: [AtomicU64; SLOTS],
    overflow: AtomicBool,
}

impl Mailbox {
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self {
            posted: AtomicU64::new(0),
            served: AtomicU64::new(0),
            slots: [const { AtomicU64::new(0) }; SLOTS],
            overflow: AtomicBool::new(false),
        }
    }

    /// Asks for page-aligned ranges of addresses to be flushed. Returns the number of the post, for
    /// [`has_confirmed`](Self::has_confirmed).
    pub fn post(&self, ranges: &[Range<usize>]) -> u64 {
        for range in ranges {
            let pages = (range.len() >> PAGE_SHIFT) as u64;
            let value = (range.start as u64 >> PAGE_SHIFT) << COUNT_BITS | pages;
            let puts =
                |slot: &AtomicU64| slot.compare_exchange(0, value, Ordering::SeqCst, Ordering::Relaxed);
            if pages >= 1 << COUNT_BITS || !self.slots.iter().any(|slot| puts(slot).is_ok()) {
                // There is no slot for it.
                self.overflow.store(true, Ordering::SeqCst);
            }
        }
        self.posted.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Returns whether the post of this number is confirmed.
    pub fn has_confirmed(&self, number: u64) -> bool {
        self.served.load(Ordering::Acquire) >= number
    }

    /// Returns whether there are posts that are not confirmed.
    pub fn is_asked(&self) -> bool {
        self.posted.load(Ordering::SeqCst) != self.served.load(Ordering::Relaxed)
    }

    /// Begins to serve. Returns how many posts are being served, for [`confirm`](Self::confirm), and whether everything
    /// is to be flushed.
    pub fn open(&self) -> (u64, bool) {
        (self.posted.load(Ordering::SeqCst), self.overflow.swap(false, Ordering::SeqCst))
    }

    /// Empties the slots, and gives `sink` the numbers of the pages in each. They were unmapped before they were put
    /// there.
    pub fn empty(&self, mut sink: impl FnMut(Range<u64>)) {
        for slot in &self.slots {
            // Swapped, not stored: the current CPU sees the unmapping of what it takes out.
            let range = slot.swap(0, Ordering::SeqCst);
            let (first, pages) = (range >> COUNT_BITS, range & ((1 << COUNT_BITS) - 1));
            sink(first..first + pages);
        }
    }

    /// Confirms so many posts: their pages were flushed.
    pub fn confirm(&self, posts: u64) {
        self.served.fetch_max(posts, Ordering::Release);
    }
}
