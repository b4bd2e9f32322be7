//! What one CPU unmapped.

use super::list::List;
use crate::atomic::{AtomicI64, AtomicUsize, Ordering};

/// In a CPU's share: it is added to the sum at the next free, however small it is.
pub(super) const HINT: i64 = 1 << 40;
/// What one CPU unmapped.
#[repr(align(64))]
pub(super) struct Cpu {
    pub list: List,
    /// The first area that interrupt handlers freed on it; 0 for none.
    pub deferred: AtomicUsize,
    pub share: Share,
}

impl Cpu {
    pub fn new() -> Self {
        Self { list: List::new(), deferred: AtomicUsize::new(0), share: Share(AtomicI64::new(0)) }
    }

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
        self.0.load(Ordering::Relaxed) & !HINT
    }
}
