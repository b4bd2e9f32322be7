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
    ops::Range,
    ptr::{self, NonNull},
    slice,
};

/// Addresses that one entry stands for.
const BYTES_PER_SLOT: usize = PAGE_SIZE / size_of::<Slot>();

/// Contiguous pages of one block, taken from the front.
struct Stretch {
    /// The entry of the first one, and the one behind that of the last.
    first: AtomicPtr<Slot>,
    end: AtomicPtr<Slot>,
    /// What to add to [`BYTES_PER_SLOT`] times the address of a page's entry, for the address of the page.
    offset: AtomicUsize,
}

impl Stretch {
    const fn new() -> Self {
        Self {
            first: AtomicPtr::new(ptr::null_mut()),
            end: AtomicPtr::new(ptr::null_mut()),
            offset: AtomicUsize::new(0),
        }
    }

    /// Returns where the page starts whose entry is at address `slot`.
    #[inline(always)]
    fn page_at(&self, slot: usize) -> usize {
        slot.wrapping_mul(BYTES_PER_SLOT).wrapping_add(self.offset.load(Relaxed))
    }

    /// Returns the first `count` pages, one at least and a block at most, if there are as many: their address and entries.
    #[inline(always)]
    fn first(&self, count: usize) -> Option<(usize, &[Slot])> {
        debug_assert!((1..=BLOCK_PAGES).contains(&count));
        let first = self.first.load(Relaxed);
        // It does not wrap: no table lies within its own size of the end of the address space.
        if first.wrapping_add(count) > self.end.load(Relaxed) {
            return None;
        }
        // SAFETY: there is one page at least, so `put` wrote where the entries of these pages are. The table is there: of the
        // block's pages, some that are noted here are live.
        let slots = unsafe { slice::from_raw_parts(NonNull::new_unchecked(first).as_ptr(), count) };
        Some((self.page_at(first.addr()), slots))
    }

    /// Takes the first pages, whose entries these are.
    #[inline(always)]
    fn take(&self, slots: &[Slot]) {
        self.first.store(slots.as_ptr_range().end.cast_mut(), Relaxed);
    }

    /// The pages with these entries are here from now on, of which the first one starts at `address`.
    fn put(&self, address: usize, pages: &[Slot]) {
        let Range { start, end } = pages.as_ptr_range();
        self.offset.store(address.wrapping_sub(start.addr().wrapping_mul(BYTES_PER_SLOT)), Relaxed);
        self.first.store(start.cast_mut(), Ordering::Release);
        self.end.store(end.cast_mut(), Relaxed);
    }

    fn count(&self) -> usize {
        // Others may read one of the two before it changes, and the other one behind.
        let bytes = self.end.load(Relaxed).addr().saturating_sub(self.first.load(Relaxed).addr());
        (bytes / size_of::<Slot>()).min(BLOCK_PAGES)
    }
}

/// What a CPU has for `vm_map_ram`. Only that CPU changes it, pinned; or who has closed the magazines.
pub(crate) struct Ram {
    /// Free pages.
    supply: Stretch,
    /// The pages behind those that were unmapped last, up to the end of the block.
    behind: Stretch,
    /// The address of the first entry of those, which lie one behind the other up to the pages behind.
    unmapped: AtomicUsize,
}

impl Ram {
    /// Makes that of a CPU that has nothing.
    pub const fn without_pages() -> Self {
        Self { supply: Stretch::new(), behind: Stretch::new(), unmapped: AtomicUsize::new(0) }
    }

    /// Takes `count` pages of the supply, one at least and a block at most: their address and entries.
    #[inline(always)]
    pub fn take(&self, count: usize) -> Option<(usize, &[Slot])> {
        let (address, slots) = self.supply.first(count)?;
        self.supply.take(slots);
        Some((address, slots))
    }

    /// Takes all pages of the supply: where they start, and how many they are.
    pub fn take_all(&self) -> Option<(usize, usize)> {
        let count = self.supply.count();
        if count == 0 {
            return None;
        }
        let (address, pages) = self.take(count)?;
        Some((address, pages.len()))
    }

    /// Live pages, of which the first one starts at `address`, are the supply from now on, which was empty.
    pub fn put(&self, address: usize, pages: &[Slot]) {
        self.supply.put(address, pages);
    }

    /// Returns the entries of the `count` pages at `address`, one at least and a block at most, if these lie behind those that
    /// were unmapped last.
    #[inline(always)]
    pub fn behind(&self, address: usize, count: usize) -> Option<&[Slot]> {
        let (start, slots) = self.behind.first(count)?;
        (start == address).then_some(slots)
    }

    /// Counts the pages with these entries, which lie [behind](Self::behind) those that were unmapped last, as unmapped.
    #[inline(always)]
    pub fn unmapped_behind(&self, slots: &[Slot]) {
        self.behind.take(slots);
    }

    /// Returns where the pages start that were unmapped last, and how many they are.
    pub fn unmapped(&self) -> Option<(usize, usize)> {
        let (start, end) = (self.unmapped.load(Relaxed), self.behind.first.load(Relaxed).addr());
        (start != end).then(|| (self.behind.page_at(start), (end - start) / size_of::<Slot>()))
    }

    /// Those that were unmapped last were retired: from now on they are the `count` before `address`, where pages with
    /// the entries `behind` follow in the block.
    pub fn unmapped_elsewhere(&self, address: usize, behind: &[Slot], count: usize) {
        self.behind.put(address, behind);
        // Release, as of the first entry behind: who does not find here what was noted before finds it retired.
        let start = behind.as_ptr().addr() - count * size_of::<Slot>();
        self.unmapped.store(start, Ordering::Release);
    }

    /// Those that were unmapped last were retired.
    pub fn forget(&self) {
        self.unmapped_elsewhere(0, &[], 0);
    }

    /// Returns whether there is neither a supply nor something that was unmapped, for who has closed the magazines.
    pub fn is_empty(&self) -> bool {
        self.supply.count() == 0 && self.unmapped().is_none()
    }

    /// Returns how many pages the supply has, and how many were unmapped, for others.
    pub fn counts(&self) -> (usize, usize) {
        // Whichever of the two is that of others, noted meanwhile: those that were there before were retired.
        let end = self.behind.first.load(Ordering::Acquire).addr();
        let unmapped = end.abs_diff(self.unmapped.load(Ordering::Acquire)) / size_of::<Slot>();
        (self.supply.count(), unmapped.min(BLOCK_PAGES))
    }
}
