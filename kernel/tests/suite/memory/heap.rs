//! The heap: on memory from vmalloc, growing on demand.

use alloc::{boxed::Box, vec, vec::Vec};
use kernel::{
    arch::layout,
    memory::{self, Hoard, frames, heap},
};
use vmalloc::PAGE_SIZE;

#[test_case]
fn boxes_lie_in_the_vmalloc_range_and_come_back() {
    let used = heap::usage().used;
    let value = Box::new([7_u64; 40]);
    assert!(layout::VMALLOC.contains(&(core::ptr::from_ref(&*value) as usize)));
    assert!(heap::usage().used >= used + 320);
    assert!(value.iter().all(|&word| word == 7));
    drop(value);
    assert_eq!(heap::usage().used, used);
}

#[test_case]
fn alignment_of_heap_memory_is_honoured() {
    #[repr(align(4096))]
    struct Page([u8; 100]);
    let pages: Vec<_> = (0..5).map(|byte| Box::new(Page([byte; 100]))).collect();
    for (index, page) in pages.iter().enumerate() {
        assert!((core::ptr::from_ref(&**page) as usize).is_multiple_of(4096));
        assert_eq!(page.0[99], index as u8);
    }
}

#[test_case]
fn the_heap_grows_for_what_does_not_fit() {
    let before = heap::usage();
    let large = vec![3_u8; before.size + (1 << 20)];
    let after = heap::usage();
    assert!(after.chunks == before.chunks + 1 && after.size > before.size + large.len());
    assert!(large.iter().all(|&byte| byte == 3));
    drop(large);
    assert_eq!(heap::usage().used, before.used, "chunks stay, what was used is free");
}

#[test_case]
fn impossible_heap_requests_fail_without_a_panic() {
    let mut huge: Vec<u8> = Vec::new();
    assert!(huge.try_reserve_exact(1 << 45).is_err());
    assert!(huge.try_reserve_exact(isize::MAX as usize).is_err());
}

/// Where there are no frames for a chunk twice as large as the last one, there is one that is just large enough. Seen
/// failing without that.
#[test_case]
fn the_heap_grows_by_less_where_there_is_less() {
    let before = heap::usage();
    // More than any chunk has; rounded up to a power of two it is twice as much.
    let wanted = before.size.max(4 << 20).next_power_of_two() + PAGE_SIZE;
    memory::vmalloc().trim();
    frames::drain_magazines();
    let left = wanted / PAGE_SIZE * 3 / 2;
    let hoard = Hoard::take(frames::counts().free as usize - left);
    let mut bytes = Vec::<u8>::new();
    let reserved = bytes.try_reserve_exact(wanted);
    drop(hoard);
    assert!(reserved.is_ok(), "{left} frames are left, and {wanted} bytes refused");
    let after = heap::usage();
    assert!(after.chunks == before.chunks + 1 && after.size - before.size < left * PAGE_SIZE);
}
