//! Bump runs: contiguous pages that a CPU hands out without a lock, in order of address.
//!
//! When a run of pages is taken from a pool's current block, the free pages behind it are taken too, under
//! the same hold of the block's lock. From here one compare-and-swap takes any number of them. The block
//! counts these pages as live, so it is neither closed nor does it lose its leaf table. They go back when
//! they are too few for a request, and, from all CPUs, when frames or address space are short.

use crate::{
    BLOCK_PAGES,
    atomic::{AtomicPtr, AtomicU64, Ordering},
    page_table::slot::{Slot, Slots},
};
use core::ptr::{self, NonNull};

/// Bits of the count of pages.
const COUNT_BITS: u32 = 10;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const _: () = assert!(BLOCK_PAGES as u64 <= COUNT);

/// Contiguous pages of one block. Only the CPU whose pool it is, pinned, puts pages here or hands them out; others may
/// take all of them away.
pub(super) struct Bump {
    /// The number of the first in the span, above the count of them.
    pages: AtomicU64,
    /// The leaf table of their block; it may be gone once there are none.
    leaf: AtomicPtr<Slots>,
}

impl Bump {
    pub fn new() -> Self {
        Self { pages: AtomicU64::new(0), leaf: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Takes the first `count` pages, if there are as many and that is not zero: the number of the first, and
    /// their leaf table.
    #[inline(always)]
    pub fn take(&self, count: usize) -> Option<(usize, &Slots)> {
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

    /// `count` pages from page `page` on, of a block with this leaf table, belong to this CPU, whose bump run is empty.
    pub fn put(&self, page: usize, count: usize, leaf: &Slots) {
        self.leaf.store(ptr::from_ref(leaf).cast_mut(), Ordering::Relaxed);
        let before = self.pages.swap((page as u64) << COUNT_BITS | count as u64, Ordering::AcqRel);
        debug_assert_eq!(before & COUNT, 0, "pages of a bump run are lost");
    }

    /// Takes all of them, on the CPU whose they are: the number of the first, and their entries.
    pub fn take_rest(&self) -> Option<(usize, &[Slot])> {
        let (page, count) = self.take_all()?;
        // SAFETY: as in `take`.
        let leaf = unsafe { NonNull::new_unchecked(self.leaf.load(Ordering::Relaxed)).as_ref() };
        let first = page % BLOCK_PAGES;
        Some((page, &leaf[first..first + count]))
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

#[cfg(all(test, loom))]
mod models;
