//! What collections ask of an instance.

use super::with_memory;
use crate::{BLOCK_PAGES, PAGE_SIZE, tests::support::Instance};
use allocator_api2::alloc::{Allocator, Layout};
use core::ptr::NonNull;

/// More than a page.
const ALIGN: usize = 16 * PAGE_SIZE;

fn layout(pages: usize, align: usize) -> Layout {
    Layout::from_size_align(pages * PAGE_SIZE, align).expect("a layout")
}

/// Memory that is full of sevens.
fn allocate(vmalloc: &'static Instance, layout: Layout) -> NonNull<u8> {
    let memory = Allocator::allocate(&vmalloc, layout).expect("memory enough");
    assert_eq!((memory.len(), memory.addr().get() % layout.align()), (layout.size(), 0));
    // SAFETY: just allocated.
    unsafe { memory.cast::<u8>().write_bytes(7, layout.size()) };
    memory.cast()
}

/// Has memory grow, or shrink.
fn resize(vmalloc: &'static Instance, memory: NonNull<u8>, old: Layout, new: Layout) -> NonNull<[u8]> {
    // SAFETY: it was allocated with the old layout, and the test goes on with the result alone.
    let resized = unsafe {
        match new.size() < old.size() {
            true => Allocator::shrink(&vmalloc, memory, old, new),
            false => Allocator::grow(&vmalloc, memory, old, new),
        }
    };
    resized.expect("memory enough")
}

/// Frees memory that is as `layout` says, and begins with so many pages of sevens.
fn free(vmalloc: &'static Instance, memory: NonNull<[u8]>, layout: Layout, pages: usize) {
    assert_eq!((memory.len(), memory.addr().get() % layout.align()), (layout.size(), 0));
    // SAFETY: as many bytes are allocated, and were written.
    let bytes = unsafe { memory.as_ref() };
    assert!(bytes[..pages * PAGE_SIZE].iter().all(|&byte| byte == 7));
    // SAFETY: allocated with this layout, and used no more.
    unsafe { vmalloc.deallocate(memory.cast(), layout) };
}

/// An area that moves by its entries is aligned to a page only, and leaves a test's bytes behind. Seen failing with
/// an area that is resized as others are.
#[test]
fn what_is_aligned_to_more_than_a_page_is_so_after_it_has_grown() {
    with_memory(1, 4 * BLOCK_PAGES, 8, |_, vmalloc| {
        let (old, new) = (layout(4, ALIGN), layout(20, ALIGN));
        let (memory, behind) = (allocate(vmalloc, old), allocate(vmalloc, layout(1, 1)));
        free(vmalloc, resize(vmalloc, memory, old, new), new, 4);
        free(vmalloc, NonNull::slice_from_raw_parts(behind, PAGE_SIZE), layout(1, 1), 1);
    });
}

/// Seen failing with an area that stays where it is.
#[test]
fn what_shrinks_may_be_aligned_to_more_than_before() {
    with_memory(1, 4 * BLOCK_PAGES, 8, |_, vmalloc| {
        let (old, new) = (layout(4, 8), layout(2, ALIGN));
        let areas = [(); 2].map(|()| allocate(vmalloc, old));
        assert!(areas.iter().any(|area| !area.addr().get().is_multiple_of(ALIGN)));
        for area in areas {
            free(vmalloc, resize(vmalloc, area, old, new), new, 2);
        }
    });
}

/// Nothing is copied where nothing is in the way. Seen failing with a copy in each case but the last.
#[test]
fn what_keeps_its_alignment_stays_where_it_is() {
    with_memory(1, 4 * BLOCK_PAGES, 8, |_, vmalloc| {
        for (from, to, align) in [(4, 2, ALIGN), (4, 4, ALIGN), (2, 4, PAGE_SIZE), (2, 4, 8)] {
            let (old, new) = (layout(from, align), layout(to, align));
            let memory = allocate(vmalloc, old);
            let resized = resize(vmalloc, memory, old, new);
            assert_eq!(resized.cast(), memory, "{from} to {to} pages, aligned to {align:#x}");
            free(vmalloc, resized, new, from.min(to));
        }
    });
}

/// Seen failing with an area that is to be resized to no bytes, which is refused.
#[test]
fn what_shrinks_to_nothing_is_freed() {
    with_memory(1, BLOCK_PAGES, 2, |_, vmalloc| {
        let (old, new) = (layout(1, 8), layout(0, 8));
        let nothing = resize(vmalloc, allocate(vmalloc, old), old, new);
        assert_eq!(vmalloc.areas().count(), 0);
        free(vmalloc, nothing, new, 0);
    });
}
