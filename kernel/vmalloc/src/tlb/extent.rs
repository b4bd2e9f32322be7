//! The extent of a flush: since which moment, on which CPUs, and what these must not do any more.

use crate::atomic::{AtomicU64, Ordering::Relaxed};

/// A moment: a [`Stamp`] is taken after pages are unmapped, and tells later whether every CPU has
/// [flushed](super::Shootdown::is_flushed) since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(pub(super) u64);

impl Stamp {
    /// The moment before all others: every CPU has flushed since.
    pub const NEVER: Self = Self(0);
}

/// A stamp that is changed by who has no exclusive access to it. It orders nothing else.
pub(crate) struct AtomicStamp(AtomicU64);

impl AtomicStamp {
    pub fn new(stamp: Stamp) -> Self {
        Self(AtomicU64::new(stamp.0))
    }

    pub fn load(&self) -> Stamp {
        Stamp(self.0.load(Relaxed))
    }

    pub fn store(&self, stamp: Stamp) {
        self.0.store(stamp.0, Relaxed);
    }
}

/// Whether a [round](super::Shootdown::round) interrupts CPUs that are [isolated](super::Shootdown::set_online).
#[doc(alias = "nohz_full")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Isolated CPUs are not interrupted: what they may still reach has to wait.
    Considerate,
    /// Isolated CPUs are interrupted as others are: somebody cannot wait.
    Everyone,
}

/// What CPUs must no longer do with what was unmapped or changed. The choice decides whether
/// idle CPUs are interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbid {
    /// No code may use it. Idle CPUs are not interrupted: they run none before they wake, and flush first.
    Use,
    /// No CPU may speculate on it either. Idle CPUs are interrupted, as they must be before page tables are
    /// given back and when 2 MiB pages change. Otherwise one could, between waking and flushing, walk through
    /// a page table that its paging-structure caches still have, and set accessed bits in what is somebody's
    /// data by then; or load a translation beside one of another size with other rights, which is undefined
    /// (Intel SDM 3A, 4.10.2.3 and 4.10.3.1).
    #[doc(alias = "freed_tables")]
    Speculation,
}
