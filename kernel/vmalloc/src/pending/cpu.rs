//! What one CPU unmapped.

use super::list::List;
use crate::atomic::{AtomicI64, AtomicUsize, Ordering};

/// In a CPU's share: it is added to the sum at the next free, however small it is.
pub(super) const HINT: i64 = 1 << 40;
/// What one CPU unmapped.
#[repr(align(64))]
pub(super) struct Cpu {
    pub list: List,
    /// What interrupt handlers freed on it.
    pub deferred: Deferred,
    pub share: Share,
}

impl Cpu {
    pub fn new() -> Self {
        Self { list: List::new(), deferred: Deferred(AtomicUsize::new(0)), share: Share(AtomicI64::new(0)) }
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
        self.0.load(Ordering::Relaxed) & !HINT
    }
}

/// The first area of a CPU's list; 0 for none.
pub(super) struct Deferred(pub AtomicUsize);

impl Deferred {
    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}
