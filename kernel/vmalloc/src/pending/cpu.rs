//! What one CPU unmapped.

use super::list::List;
use crate::{
    atomic::framed::AtomicU32,
    atomic::{AtomicI64, AtomicUsize, Ordering},
    blocks::NO_BLOCK,
    percpu::{Part, place},
};

/// In a CPU's share: it is added to the sum at the next free, however small it is.
const HINT: i64 = 1 << 40;
/// Pages that a CPU counts for itself before it adds them to the sum.
const BATCH: i64 = 256;
/// In the share of CPUs that share one: they count nothing there.
const SHARED: i64 = 1 << 41;

/// What one CPU unmapped.
#[repr(align(64))]
pub(super) struct Cpu {
    pub list: List,
    /// The first block of the list that the purge under way took.
    pub taken: AtomicU32,
    /// The first area that interrupt handlers freed on it; 0 for none.
    pub deferred: AtomicUsize,
    pub share: Share,
}

impl Part for Cpu {
    const AT: usize = place::PENDING;

    fn new(is_shared: bool) -> Self {
        Self {
            list: List::new(),
            taken: AtomicU32::new(NO_BLOCK),
            deferred: AtomicUsize::new(0),
            share: Share(AtomicI64::new(if is_shared { SHARED } else { 0 })),
        }
    }
}

impl Cpu {
    /// Whether interrupt handlers freed areas on it that no purge has taken.
    pub fn has_deferred(&self) -> bool {
        self.deferred.load(Ordering::Relaxed) != 0
    }
}

/// Pages of one CPU not yet in the sum, and perhaps [`HINT`]. Only its CPU changes it, and its interrupt handlers do.
pub(super) struct Share(pub AtomicI64);

impl Share {
    /// Has the next free on this CPU see whether too much waits. For interrupt handlers. A free that is interrupted just
    /// when it counts takes that back; then the one sees it that makes the share full.
    pub fn hint(&self) {
        self.0.fetch_or(HINT, Ordering::Relaxed);
    }

    /// Pages not yet in the sum.
    pub fn pages(&self) -> i64 {
        Self::pages_in(self.0.load(Ordering::Relaxed))
    }

    /// Adds pages. Returns those that are to be added to the sum, if these are many enough now or nothing is counted here.
    #[inline(always)]
    pub fn add(&self, pages: usize) -> Option<i64> {
        let now = self.0.load(Ordering::Relaxed) + pages as i64;
        if now < BATCH {
            self.0.store(now, Ordering::Relaxed);
            return None;
        }
        if now < SHARED {
            self.0.store(0, Ordering::Relaxed);
        }
        Some(Self::pages_in(now))
    }

    fn pages_in(share: i64) -> i64 {
        share & !HINT & !SHARED
    }
}
