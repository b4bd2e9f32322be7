//! What a CPU has for `vm_map_ram`: pages that it maps next, and those that it unmapped last.
//!
//! Both are live pages in their blocks, so that mapping some and unmapping some takes no lock: nobody else touches them.
//! A mapping is made of the first pages of the *supply*. What is unmapped is only counted where it lies right behind what
//! was unmapped before, as it does where mappings go in the order in which they came. It is retired at once, under one hold
//! of its block's lock, when something else is unmapped, and when the magazines are given back.
//!
//! So whoever makes CPUs forget what was unmapped flushes what is noted here, too.

use crate::{BLOCK_PAGES, PAGE_SIZE, page_table::Slot};
use core::{
    ptr::NonNull,
    slice,
    sync::atomic::{
        AtomicPtr, AtomicUsize,
        Ordering::{self, Relaxed},
    },
};

/// Contiguous pages of one block, taken from the front.
struct Stretch {
    /// Where the first one starts, and where the last one ends.
    address: AtomicUsize,
    end: AtomicUsize,
    /// The entry of the first one.
    first: AtomicPtr<Slot>,
}

impl Stretch {
    /// Takes the first `count` pages, which start at `address`, if there are as many and that is not zero, and `is_fit` says
    /// of their entries that they are to be had. Returns the entries.
    #[inline(always)]
    fn take_if(&self, address: usize, count: usize, is_fit: impl FnOnce(&[Slot]) -> bool) -> Option<&[Slot]> {
        let is_length = count.wrapping_sub(1) < BLOCK_PAGES;
        // The end may be that of the address space.
        if !is_length || count * PAGE_SIZE > self.end.load(Relaxed).wrapping_sub(address) {
            return None;
        }
        // SAFETY: `put` wrote where the entries of these pages are. The table is there: of the block's pages, some that are
        // noted here are live.
        let pages = unsafe {
            slice::from_raw_parts(NonNull::new_unchecked(self.first.load(Relaxed)).as_ptr(), count)
        };
        if !is_fit(pages) {
            return None;
        }
        self.address.store(address + count * PAGE_SIZE, Relaxed);
        self.first.store(pages.as_ptr_range().end.cast_mut(), Relaxed);
        Some(pages)
    }

    /// The pages with these entries are here from now on, of which the first one starts at `address`.
    fn put(&self, address: usize, pages: &[Slot]) {
        self.address.store(address, Relaxed);
        self.end.store(address + pages.len() * PAGE_SIZE, Relaxed);
        self.first.store(pages.as_ptr().cast_mut(), Relaxed);
    }

    fn count(&self) -> usize {
        // Others may read one of the two before it changes, and the other one behind.
        let count = self.end.load(Relaxed).saturating_sub(self.address.load(Relaxed)) / PAGE_SIZE;
        count.min(BLOCK_PAGES)
    }
}

/// What a CPU has for `vm_map_ram`. Only that CPU changes it, pinned; or who has closed the magazines.
pub(crate) struct Ram {
    /// Free pages.
    supply: Stretch,
    /// The pages behind those that were unmapped last, up to the end of the block.
    behind: Stretch,
    /// How many were, one behind the other.
    unmapped: AtomicUsize,
}

impl Ram {
    /// Takes `count` pages of the supply: their address and entries.
    #[inline(always)]
    pub fn take(&self, count: usize) -> Option<(usize, &[Slot])> {
        let address = self.supply.address.load(Relaxed);
        Some((address, self.supply.take_if(address, count, |_| true)?))
    }

    /// Takes all pages of the supply: where they start, and how many they are.
    pub fn take_all(&self) -> Option<(usize, usize)> {
        let (address, pages) = self.take(self.supply.count())?;
        Some((address, pages.len()))
    }

    /// Live pages, of which the first one starts at `address`, are the supply from now on, which was empty.
    pub fn put(&self, address: usize, pages: &[Slot]) {
        self.supply.put(address, pages);
    }

    /// Counts the `count` pages at `address` as unmapped, if they lie behind those that were unmapped last, and `unmap`,
    /// which is given their entries, says that it unmapped them. Returns whether it did.
    #[inline(always)]
    pub fn unmap(&self, address: usize, count: usize, unmap: impl FnOnce(&[Slot]) -> bool) -> bool {
        if self.behind.address.load(Relaxed) != address
            || self.behind.take_if(address, count, unmap).is_none()
        {
            return false;
        }
        let unmapped = self.unmapped.load(Relaxed) + count;
        self.unmapped.store(unmapped, Relaxed);
        true
    }

    /// Returns where the pages start that were unmapped last, and how many they are.
    pub fn unmapped(&self) -> Option<(usize, usize)> {
        let count = self.unmapped.load(Relaxed);
        (count > 0).then(|| (self.behind.address.load(Relaxed) - count * PAGE_SIZE, count))
    }

    /// Those that were unmapped last were retired: from now on they are the `count` before `address`, where pages with
    /// the entries `behind` follow in the block.
    pub fn unmapped_elsewhere(&self, address: usize, behind: &[Slot], count: usize) {
        self.behind.put(address, behind);
        // Release: who does not find here what was noted before finds it retired.
        self.unmapped.store(count, Ordering::Release);
    }

    /// Those that were unmapped last were retired.
    pub fn forget(&self) {
        self.unmapped_elsewhere(0, &[], 0);
    }

    /// Returns how many pages the supply has, and how many were unmapped, for others.
    pub fn counts(&self) -> (usize, usize) {
        (self.supply.count(), self.unmapped.load(Ordering::Acquire))
    }
}
