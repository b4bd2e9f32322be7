//! One CPU's cache of runs, by length; the last one put there is taken first. A run leaves when an allocation
//! takes it or when all caches are emptied.

use crate::{
    LockClass,
    atomic::AtomicUsize,
    blocks::NO_BLOCK,
    lock::{Lock, Locked},
    percpu::{Part, place},
};

/// Blocks of the longest run that is cached: 32 MiB.
pub(super) const LONGEST: usize = 16;

/// A CPU's cached runs.
pub(super) struct CachedRuns {
    pub runs: Lock<Runs>,
    /// Blocks of runs that are here, or will be when they are flushed.
    pub reserved: AtomicUsize,
}

/// The first block of the last run of each length that was put here; its `next` leads to the one before.
pub(super) struct Runs(pub [u32; LONGEST]);

impl Locked for Runs {
    const CLASS: LockClass = LockClass::Runs;
}

impl Part for CachedRuns {
    const AT: usize = place::RUNS;

    fn new(_: bool) -> Self {
        Self { runs: Lock::new(Runs([NO_BLOCK; LONGEST])), reserved: AtomicUsize::new(0) }
    }
}
