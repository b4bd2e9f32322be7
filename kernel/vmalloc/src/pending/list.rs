//! A list of blocks. Its own CPU, or those that share a record, push to it, and a purge on any CPU takes it
//! whole; so neither needs a lock.

use crate::{
    atomic::{AtomicU32, Ordering},
    blocks::NO_BLOCK,
};

/// The first block of a list.
pub(crate) struct List(AtomicU32);

impl List {
    pub fn new() -> Self {
        Self(AtomicU32::new(NO_BLOCK))
    }

    /// Puts block `number`, which is in no list and whose link is `link`, first.
    pub fn push(&self, number: u32, link: &AtomicU32) {
        // Again only if others took or pushed meanwhile: a purge takes a list once. Release: who takes the list sees
        // the link. A purge may take the list between the two accesses, and the block that was first may be first again
        // then: it is linked all the same, and what follows it is its own affair.
        _ = self.0.fetch_update(Ordering::Release, Ordering::Relaxed, |first| {
            link.store(first, Ordering::Relaxed);
            Some(number)
        });
    }

    /// Takes all blocks: the first one.
    pub fn take(&self) -> u32 {
        self.0.swap(NO_BLOCK, Ordering::Acquire)
    }

    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == NO_BLOCK
    }
}
