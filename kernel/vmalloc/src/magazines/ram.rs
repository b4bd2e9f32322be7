//! What a CPU has for `vm_map_ram`: pages that it maps next, and those that it unmapped last.
//!
//! Both are live pages in their blocks, so that mapping some and unmapping some takes no lock: nobody else touches them.
//! A mapping is made of the first pages of the *supply*. What is unmapped is only counted where it lies right behind what
//! was unmapped before, as it does where mappings go in the order in which they came. It is retired at once, under one hold
//! of its block's lock, when something else is unmapped, and when the magazines are given back.
//!
//! So whoever makes CPUs forget what was unmapped flushes what is noted here, too.

use crate::{
    BLOCK_PAGES, PAGE_SIZE,
    atomic::framed::{
        AtomicPtr, AtomicUsize,
        Ordering::{self, Relaxed},
    },
    page_table::Slot,
};
use core::{
    ptr::{self, NonNull},
    slice,
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
    const fn new() -> Self {
        Self {
            address: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            first: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Takes the first `count` pages, which start at `address`, if there are as many, and `is_fit` says of their entries that
    /// they are to be had. Returns the entries. `ONE` says that `count` is one.
    #[inline(always)]
    fn take_if<const ONE: bool>(
        &self,
        address: usize,
        count: usize,
        is_fit: impl FnOnce(&[Slot]) -> bool,
    ) -> Option<&[Slot]> {
        // The end may be that of the address space.
        let bytes = self.end.load(Relaxed).wrapping_sub(address);
        // What there is are whole pages.
        let is_there = if ONE { bytes != 0 } else { count <= bytes / PAGE_SIZE };
        if !is_there {
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
        self.address.store(address, Ordering::Release);
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
    /// Where those start, one behind the other up to the pages behind.
    unmapped: AtomicUsize,
}

impl Ram {
    /// Makes that of a CPU that has nothing.
    pub const fn without_pages() -> Self {
        Self { supply: Stretch::new(), behind: Stretch::new(), unmapped: AtomicUsize::new(0) }
    }

    /// Takes `count` pages of the supply, one at least, or, as `ONE` says, one: their address and entries.
    #[inline(always)]
    pub fn take<const ONE: bool>(&self, count: usize) -> Option<(usize, &[Slot])> {
        if count == 0 {
            return None;
        }
        let address = self.supply.address.load(Relaxed);
        Some((address, self.supply.take_if::<ONE>(address, count, |_| true)?))
    }

    /// Takes all pages of the supply: where they start, and how many they are.
    pub fn take_all(&self) -> Option<(usize, usize)> {
        let (address, pages) = self.take::<false>(self.supply.count())?;
        Some((address, pages.len()))
    }

    /// Live pages, of which the first one starts at `address`, are the supply from now on, which was empty.
    pub fn put(&self, address: usize, pages: &[Slot]) {
        self.supply.put(address, pages);
    }

    /// Counts the `count` pages at `address` as unmapped, if they lie behind those that were unmapped last, and `unmap`,
    /// which is given their entries, says that it unmapped them. Returns whether it did. `ONE` says that `count` is one.
    #[inline(always)]
    pub fn unmap<const ONE: bool>(
        &self,
        address: usize,
        count: usize,
        unmap: impl FnOnce(&[Slot]) -> bool,
    ) -> bool {
        self.behind.address.load(Relaxed) == address
            && self.behind.take_if::<ONE>(address, count, unmap).is_some()
    }

    /// Returns where the pages start that were unmapped last, and how many they are.
    pub fn unmapped(&self) -> Option<(usize, usize)> {
        let (start, end) = (self.unmapped.load(Relaxed), self.behind.address.load(Relaxed));
        (start != end).then(|| (start, (end - start) / PAGE_SIZE))
    }

    /// Those that were unmapped last were retired: from now on they are the `count` before `address`, where pages with
    /// the entries `behind` follow in the block.
    pub fn unmapped_elsewhere(&self, address: usize, behind: &[Slot], count: usize) {
        self.behind.put(address, behind);
        // Release, as of the address: who does not find here what was noted before finds it retired.
        self.unmapped.store(address - count * PAGE_SIZE, Ordering::Release);
    }

    /// Those that were unmapped last were retired.
    pub fn forget(&self) {
        self.unmapped_elsewhere(0, &[], 0);
    }

    /// Returns how many pages the supply has, and how many were unmapped, for others.
    pub fn counts(&self) -> (usize, usize) {
        // Whichever of the two is that of others, noted meanwhile: those that were there before were retired.
        let end = self.behind.address.load(Ordering::Acquire);
        let unmapped = end.abs_diff(self.unmapped.load(Ordering::Acquire)) / PAGE_SIZE;
        (self.supply.count(), unmapped.min(BLOCK_PAGES))
    }
}
