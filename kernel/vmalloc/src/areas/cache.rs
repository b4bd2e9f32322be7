//! One CPU's cache of runs: by length, the last one put there first. A run leaves when an allocation takes it or when
//! all caches are emptied.

use crate::{
    CpuPin, LockClass, Platform,
    atomic::{AtomicUsize, Ordering},
    blocks::{Block, Blocks, NO_BLOCK},
    lock::{Lock, Locked},
};

/// Blocks of the longest run that is cached: 32 MiB.
pub(super) const LONGEST: usize = 16;

/// A CPU's cached runs.
pub(super) struct CachedRuns {
    runs: Lock<Runs>,
    /// Blocks of runs that are here, or will be when they are flushed.
    pub reserved: AtomicUsize,
}

/// The first block of the last run of each length that was put here; its `next` leads to the one before.
struct Runs([u32; LONGEST]);

impl Locked for Runs {
    const CLASS: LockClass = LockClass::Runs;
}

impl CachedRuns {
    pub fn new() -> Self {
        Self { runs: Lock::new(Runs([NO_BLOCK; LONGEST])), reserved: AtomicUsize::new(0) }
    }

    /// Puts the run of `count` blocks that begins with `block` here, for whose blocks there is room.
    pub fn put(&self, pin: &impl CpuPin, block: &Block, count: usize) {
        let runs = &mut self.runs.lock(pin).0;
        block.next.store(runs[count - 1], Ordering::Relaxed);
        runs[count - 1] = block.number() as u32;
    }

    /// Takes the run of `count` blocks that was put here last: its first block.
    pub fn take<'a, P: Platform>(
        &self,
        blocks: &'a Blocks<P>,
        pin: &P::Pin,
        count: usize,
    ) -> Option<&'a Block> {
        let runs = &mut self.runs.lock(pin).0;
        let first = runs.get_mut(count - 1).filter(|first| **first != NO_BLOCK)?;
        let block = blocks.block(*first as usize);
        *first = block.next.load(Ordering::Relaxed);
        Some(block)
    }
}
