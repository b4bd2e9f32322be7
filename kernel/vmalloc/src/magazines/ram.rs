//! What a CPU has for `vm_map_ram`: pages that it maps next, and those that it unmapped last.
//!
//! Both are live pages in their blocks, so that mapping some and unmapping some takes no lock: nobody else touches them.
//! A mapping is made of the first pages of the *supply*. Pages that are unmapped right behind those unmapped before
//! are only counted, as is usual where mappings go in the order in which they came. All are retired at once, under
//! one hold of their block's lock, when something elsewhere is unmapped, and when the magazines are given back.
//!
//! So whoever makes CPUs forget what was unmapped flushes what is noted here, too.
//!
//! **The same frame again.** A caller that keeps a frame may map it again and again. A mapping of one frame gets
//! the page that was unmapped last if that had the very same entry, and the page is no longer counted. This needs
//! no flush: a translation that a CPU still has leads to the same frame, with the same rights and memory type. A
//! caller that gave the frame to somebody else meanwhile has made every CPU forget it. Nobody reads the dirty bit
//! of a page that shows the caller's frame, and there is no guard page. At least one page stays counted, the one
//! before: it keeps the block, and so its table, where it is, as long as this CPU has a place in it.

use crate::{
    BLOCK_PAGES, PAGE_SIZE,
    atomic::framed::{
        AtomicPtr, AtomicUsize,
        Ordering::{self, Relaxed},
    },
    page_table::{Entry, Slot, Slots},
};
use core::{
    hint::assert_unchecked,
    ops::Range,
    ptr::{self, NonNull},
    slice,
};

/// Addresses that one entry stands for.
const BYTES_PER_SLOT: usize = PAGE_SIZE / size_of::<Slot>();

/// Bytes of a leaf table, which is aligned to as many.
const TABLE_SIZE: usize = size_of::<Slots>();

/// A page of a block, by its entry.
struct Place {
    slot: AtomicPtr<Slot>,
    /// What to add to [`BYTES_PER_SLOT`] times the address of a page's entry, for the address of the page.
    offset: AtomicUsize,
}

impl Place {
    const fn nowhere() -> Self {
        Self { slot: AtomicPtr::new(ptr::null_mut()), offset: AtomicUsize::new(0) }
    }

    /// Returns where the page starts, of the same block, whose entry is at address `slot`.
    #[inline(always)]
    fn page_at(&self, slot: usize) -> usize {
        slot.wrapping_mul(BYTES_PER_SLOT).wrapping_add(self.offset.load(Relaxed))
    }

    /// It is the page at `address` from now on.
    fn put(&self, address: usize, slot: *const Slot) {
        self.offset.store(address.wrapping_sub(slot.addr().wrapping_mul(BYTES_PER_SLOT)), Relaxed);
        self.slot.store(slot.cast_mut(), Ordering::Release);
    }
}

/// Contiguous pages of one block, taken from the front.
struct Stretch {
    first: Place,
    /// The entry behind that of the last one.
    end: AtomicPtr<Slot>,
}

impl Stretch {
    const fn new() -> Self {
        Self { first: Place::nowhere(), end: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Takes the first `count` pages, one at least and a block at most, if there are as many: their address and entries.
    #[inline(always)]
    fn take(&self, count: usize) -> Option<(usize, &[Slot])> {
        debug_assert!((1..=BLOCK_PAGES).contains(&count));
        let first = self.first.slot.load(Relaxed);
        // It does not wrap: no table lies within its own size of the end of the address space.
        let rest = first.wrapping_add(count);
        if rest > self.end.load(Relaxed) {
            return None;
        }
        self.first.slot.store(rest, Relaxed);
        // SAFETY: there is one page at least, so `put` wrote where the entries of these pages are. The table is there: of the
        // block's pages, some that are noted here are live.
        let slots = unsafe { slice::from_raw_parts(NonNull::new_unchecked(first).as_ptr(), count) };
        Some((self.first.page_at(first.addr()), slots))
    }

    /// The pages with these entries are here from now on, of which the first one starts at `address`.
    fn put(&self, address: usize, pages: &[Slot]) {
        let Range { start, end } = pages.as_ptr_range();
        self.first.put(address, start);
        self.end.store(end.cast_mut(), Relaxed);
    }

    fn count(&self) -> usize {
        // Others may read one of the two before it changes, and the other one behind.
        let bytes = self.end.load(Relaxed).addr().saturating_sub(self.first.slot.load(Relaxed).addr());
        (bytes / size_of::<Slot>()).min(BLOCK_PAGES)
    }
}

/// What a CPU has for `vm_map_ram`. Only that CPU changes it, pinned; or who has closed the magazines.
pub(crate) struct Ram {
    /// Free pages.
    supply: Stretch,
    /// The page behind those that were unmapped last. Where the block has none, its entry would begin another table.
    behind: Place,
    /// The address of the first entry of those, which lie one behind the other up to the pages behind.
    unmapped: AtomicUsize,
    /// What the entry was of the last of those, if it was a mapping of one page and there is another one before it.
    last: Slot,
}

impl Ram {
    /// Makes that of a CPU that has nothing.
    pub const fn without_pages() -> Self {
        Self {
            supply: Stretch::new(),
            behind: Place::nowhere(),
            unmapped: AtomicUsize::new(0),
            last: Slot::unused(),
        }
    }

    /// Takes `count` pages of the supply, one at least and a block at most: their address and entries.
    #[inline(always)]
    pub fn take(&self, count: usize) -> Option<(usize, &[Slot])> {
        self.supply.take(count)
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

    /// Returns the entry of the page at `address` if that is in the block of those that were unmapped last, right behind them.
    #[inline(always)]
    pub fn behind(&self, address: usize) -> Option<NonNull<Slot>> {
        let slot = self.behind.slot.load(Relaxed);
        // Behind what was unmapped it is not the first entry of its own table.
        if slot.addr().is_multiple_of(TABLE_SIZE) || self.behind.page_at(slot.addr()) != address {
            return None;
        }
        // SAFETY: null is a multiple of a table's size.
        unsafe { assert_unchecked(!slot.is_null()) };
        NonNull::new(slot)
    }

    /// Counts the `count` pages from this entry on, which is that [behind](Self::behind) those that were unmapped last, as
    /// unmapped.
    #[inline(always)]
    pub fn unmapped_behind(&self, slot: NonNull<Slot>, count: usize) {
        self.behind.slot.store(slot.as_ptr().wrapping_add(count), Ordering::Release);
        self.last.set_unused();
    }

    /// Counts the page with this entry, which is that [behind](Self::behind) those that were unmapped last, as unmapped. It was
    /// a mapping of its own, by the entry `was`.
    #[inline(always)]
    pub fn unmapped_page_behind(&self, slot: NonNull<Slot>, was: Entry) {
        self.behind.slot.store(slot.as_ptr().wrapping_add(1), Ordering::Release);
        // One before it is counted: `behind` has found this one.
        self.last.set(was);
    }

    /// Takes the page that was unmapped last if it was a mapping of its own by the same entry: its address and entry.
    #[inline(always)]
    pub fn take_again(&self, entry: Entry) -> Option<(usize, &Slot)> {
        if entry.is_unused() || self.last.get() != entry {
            return None;
        }
        self.last.set_unused();
        let slot = self.behind.slot.load(Relaxed).wrapping_sub(1);
        self.behind.slot.store(slot, Ordering::Release);
        // SAFETY: `last` is not unused, so the page before that behind was unmapped, and neither retired nor taken since: it is
        // live in its block, whose table is there. None is at null.
        let slot = unsafe { NonNull::new_unchecked(slot).as_ref() };
        Some((self.behind.page_at(ptr::from_ref(slot).addr()), slot))
    }

    /// Returns where the pages start that were unmapped last, and how many they are.
    pub fn unmapped(&self) -> Option<(usize, usize)> {
        let (start, end) = (self.unmapped.load(Relaxed), self.behind.slot.load(Relaxed).addr());
        (start != end).then(|| (self.behind.page_at(start), (end - start) / size_of::<Slot>()))
    }

    /// Those that were unmapped last were retired: from now on they are the `count` before `address`, where in their block
    /// pages with the entries `behind` follow.
    pub fn unmapped_elsewhere(&self, address: usize, behind: &[Slot], count: usize) {
        self.noted(address, behind.as_ptr(), count);
    }

    /// Those that were unmapped last were retired.
    pub fn forget(&self) {
        self.noted(0, ptr::null(), 0);
    }

    fn noted(&self, address: usize, behind: *const Slot, count: usize) {
        self.last.set_unused();
        self.behind.put(address, behind);
        // Release, as of the entry behind: who does not find here what was noted before finds it retired.
        self.unmapped.store(behind.addr() - count * size_of::<Slot>(), Ordering::Release);
    }

    /// Returns whether there is neither a supply nor something that was unmapped, for who has closed the magazines.
    pub fn is_empty(&self) -> bool {
        self.supply.count() == 0 && self.unmapped().is_none()
    }

    /// Returns how many pages the supply has, and how many were unmapped, for others.
    pub fn counts(&self) -> (usize, usize) {
        // Whichever of the two is that of others, noted meanwhile: those that were there before were retired.
        let end = self.behind.slot.load(Ordering::Acquire).addr();
        let unmapped = end.abs_diff(self.unmapped.load(Ordering::Acquire)) / size_of::<Slot>();
        (self.supply.count(), unmapped.min(BLOCK_PAGES))
    }
}
