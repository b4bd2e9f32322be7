//! Free addresses, as published crates keep them, each behind a spinlock, under which they allocate.

use crate::{lock_class, sync::SpinLock};
use alloc::alloc;
use core::{alloc::Layout, ops::Range, ptr::NonNull};
use free_list::{PageLayout, PageRange};
use vmalloc::{PAGE_SHIFT, PAGE_SIZE};
use vmem::{AllocPolicy, Arena, Bt};

/// Who gives out runs of pages of a range.
pub trait Addresses: Sized + Send + Sync {
    /// Takes over a page-aligned range; `None` without memory.
    fn new(range: Range<usize>) -> Option<Self>;

    /// Returns the address of so many free pages, or `None` if there are none, or no memory.
    fn take(&self, pages: usize) -> Option<usize>;

    /// Takes back what [`take`](Self::take) gave.
    fn give(&self, start: usize, pages: usize);
}

/// The crate `free-list`, which the kernel Hermit uses: a sorted list of free ranges, searched for the first that fits.
/// The list is in the heap once it has more than 16 ranges.
#[derive(Debug)]
pub struct FreeList(SpinLock<free_list::FreeList<16>>);

impl Addresses for FreeList {
    fn new(range: Range<usize>) -> Option<Self> {
        let list = SpinLock::new(lock_class!(allocating "instead free-list"), free_list::FreeList::new());
        let list = Self(list);
        list.give(range.start, range.len() / PAGE_SIZE);
        Some(list)
    }

    fn take(&self, pages: usize) -> Option<usize> {
        let layout = PageLayout::from_size(pages.checked_mul(PAGE_SIZE)?).ok()?;
        Some(self.0.lock().allocate(layout).ok()?.start())
    }

    fn give(&self, start: usize, pages: usize) {
        let range = PageRange::from_start_len(start, pages * PAGE_SIZE);
        let range = range.unwrap_or_else(|error| panic!("{pages} pages at {start:#x}: {error}"));
        // SAFETY: nobody uses the addresses.
        let given = unsafe { self.0.lock().deallocate(range) };
        given.unwrap_or_else(|error| panic!("{range} is free already: {error}"));
    }
}

/// The crate `vmem`, after Bonwick and Adams: boundary tags, lists of free ranges by powers of two, a hash table of those
/// in use. The resource are page numbers: the hash of an address whose low bits are zero would lead to one chain always.
pub struct Vmem(Arena<'static, 'static, Tags, ArenaLock>);

/// Boundary tags in the kernel's heap.
struct Tags;

/// The arena's lock: one of this kernel's.
struct ArenaLock(SpinLock<()>);

impl Addresses for Vmem {
    fn new(range: Range<usize>) -> Option<Self> {
        let arena = Arena::create("instead", 1, None, Tags).ok()?;
        arena.add_span(range.start >> PAGE_SHIFT, range.len() >> PAGE_SHIFT).ok()?;
        Some(Self(arena))
    }

    fn take(&self, pages: usize) -> Option<usize> {
        self.0.alloc(pages, AllocPolicy::InstantFit).ok().map(|page| page << PAGE_SHIFT)
    }

    fn give(&self, start: usize, _: usize) {
        if let Err(error) = self.0.free(start >> PAGE_SHIFT) {
            panic!("{start:#x} was not taken: {error:?}");
        }
    }
}

// SAFETY: the heap's memory is the taker's until it is given back.
unsafe impl vmem::Allocator for Tags {
    fn allocate(&self) -> Option<NonNull<Bt>> {
        // SAFETY: a tag has a size.
        NonNull::new(unsafe { alloc::alloc(Layout::new::<Bt>()) }.cast())
    }

    unsafe fn deallocate(&self, tag: NonNull<Bt>) {
        // SAFETY: `allocate` took it, says the caller.
        unsafe { alloc::dealloc(tag.as_ptr().cast(), Layout::new::<Bt>()) };
    }
}

impl Default for ArenaLock {
    fn default() -> Self {
        Self(SpinLock::new(lock_class!(allocating "instead vmem"), ()))
    }
}

// SAFETY: one guard lives at a time.
unsafe impl vmem::Lock for ArenaLock {
    type Guard<'a> = crate::sync::SpinLockGuard<'a, ()>;

    fn lock(&self) -> Self::Guard<'_> {
        self.0.lock()
    }
}
