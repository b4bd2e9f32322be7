//! Pages that a CPU has taken ahead.
//!
//! What is free behind a run of pages that is taken from a pool's current block is taken with it, in the
//! same hold of the block's lock, and handed out from here in order of address: one compare-and-swap takes
//! any number of pages. For the block they are allocated; so it stays as it is, and so does its leaf table.
//! They go back when they are too few for a request, and, from all CPUs, when frames or address space are
//! short.

use crate::{
    atomic::{AtomicPtr, AtomicU64, Ordering},
    platform::{BLOCK_PAGES, Table},
};
use core::ptr::{self, NonNull};

/// Bits of the count of pages.
const COUNT_BITS: u32 = 10;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const _: () = assert!(BLOCK_PAGES as u64 <= COUNT);

/// Contiguous pages of one block that a CPU has taken from one of its pools ahead. Only that CPU, pinned, puts
/// some here, or hands them out; others may take all of them away.
pub(crate) struct Ahead {
    /// The number of the first in the range, above the count of them.
    pages: AtomicU64,
    /// The leaf table of their block; it may be gone once there are none.
    leaf: AtomicPtr<Table>,
}

impl Ahead {
    /// Of 0, and a pointer to nothing: no pages.
    // Loom's atomics cannot be made in a constant.
    pub const fn from_parts(pages: AtomicU64, leaf: AtomicPtr<Table>) -> Self {
        Self { pages, leaf }
    }

    /// Takes the first `count` pages, if there are as many and that is not zero: the number of the first, and
    /// their leaf table.
    #[inline(always)]
    pub fn take(&self, count: usize) -> Option<(usize, &Table)> {
        let pages = self.pages.load(Ordering::Relaxed);
        if (count as u64).wrapping_sub(1) >= pages & COUNT {
            return None;
        }
        let rest = pages + ((count as u64) << COUNT_BITS) - count as u64;
        // It fails if another CPU was faster to take them all away.
        self.pages.compare_exchange(pages, rest, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        // SAFETY: `put` wrote it on this CPU, with the pages. They are allocated, so it is still linked.
        let leaf = unsafe { NonNull::new_unchecked(self.leaf.load(Ordering::Relaxed)).as_ref() };
        Some(((pages >> COUNT_BITS) as usize, leaf))
    }

    /// Takes `count` pages from page `page` on, if these are the first ones.
    #[inline]
    pub fn take_at(&self, page: usize, count: usize) -> bool {
        self.pages.load(Ordering::Relaxed) >> COUNT_BITS == page as u64 && self.take(count).is_some()
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.pages.load(Ordering::Relaxed) & COUNT == 0
    }

    /// `count` pages from page `page` on, of a block with this leaf table, belong to this CPU, which has none
    /// here.
    pub fn put(&self, page: usize, count: usize, leaf: &Table) {
        self.leaf.store(ptr::from_ref(leaf).cast_mut(), Ordering::Relaxed);
        let before = self.pages.swap((page as u64) << COUNT_BITS | count as u64, Ordering::AcqRel);
        debug_assert_eq!(before & COUNT, 0, "pages taken ahead are lost");
    }

    /// Takes all of them away: the number of the first, and how many.
    pub fn take_all(&self) -> Option<(usize, usize)> {
        if self.is_empty() {
            return None;
        }
        let pages = self.pages.swap(0, Ordering::AcqRel);
        let count = (pages & COUNT) as usize;
        (count > 0).then_some(((pages >> COUNT_BITS) as usize, count))
    }
}
