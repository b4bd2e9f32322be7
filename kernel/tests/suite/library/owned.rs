//! Types that own.

use alloc::vec::Vec;
use kernel::{arch::paging, memory, threads::Builder};
use vmalloc::{Area, PAGE_SIZE, Protection, Request, Stack};

/// Seen failing with areas that are not zeroed.
#[test_case]
fn an_area_is_full_of_zeros_whatever_was_there() {
    for size in [1, 10 * PAGE_SIZE, 600 * PAGE_SIZE] {
        for round in 0..3 {
            let mut area = Area::new(memory::vmalloc(), Request::new(size)).expect("memory enough");
            assert!(area.as_slice().iter().all(|&byte| byte == 0), "{size} bytes, round {round}");
            area.as_mut_slice().fill(7);
            let frames: Vec<_> = area.frames().collect();
            let first = area.as_ptr().as_ptr() as u64;
            for (page, frame) in frames.iter().enumerate() {
                let found = paging::lookup(first + (page * PAGE_SIZE) as u64).expect("mapped");
                assert_eq!(found.physical, frame.address());
            }
        }
    }
}

/// Seen failing with the bytes of hidden pages lost.
#[test_case]
fn pages_that_nobody_may_access_keep_what_they_hold() {
    for request in [Request::new(5 * PAGE_SIZE), Request::new(1024 * PAGE_SIZE).huge()] {
        let mut area = Area::new(memory::vmalloc(), request).expect("memory enough");
        let pages = area.len() / PAGE_SIZE;
        let bytes = area.as_mut_slice();
        (0..pages).for_each(|page| bytes[page * PAGE_SIZE] = page as u8);
        let first = area.as_ptr().as_ptr() as usize;
        let is_mapped = |page: usize| paging::lookup((first + page * PAGE_SIZE) as u64).is_some();
        for _ in 0..3 {
            area.protect(Protection::None).expect("frames enough");
            assert!(!(0..pages).any(is_mapped));
            assert_eq!(memory::vmalloc().vread(first, &mut [1; 100]), 0);
            assert_eq!(memory::vmalloc().find_area(first + PAGE_SIZE).expect("allocated").pages, pages);
            area.protect(Protection::ReadWrite).expect("nothing is split");
            assert!((0..pages).all(is_mapped));
            assert!((0..pages).all(|page| area.as_slice()[page * PAGE_SIZE] == page as u8));
        }
        area.protect(Protection::None).expect("nothing is split");
    }
}

/// A thread is started on each; the stack's ends are where its variables are.
#[test_case]
fn threads_run_on_stacks_with_guards_at_both_ends() {
    let stack = Stack::new(memory::vmalloc(), 5000).expect("memory enough");
    let (range, guard) = (stack.range(), stack.guard());
    assert!(range.len() == 2 * PAGE_SIZE && guard.len() >= PAGE_SIZE && guard.end == range.start);
    for (address, is_mapped) in [
        (guard.start, false),
        (range.start - 1, false),
        (range.start, true),
        (range.end - 1, true),
        (range.end, false),
    ] {
        assert_eq!(paging::lookup(address as u64).is_some(), is_mapped, "{address:#x} of {stack:?}");
    }
    let own = Builder::new("stack").spawn(|| {
        let here = 0_u8;
        let address = core::ptr::from_ref(&here) as usize;
        memory::vmalloc().find_area(address).expect("on a stack").guard_below
    });
    assert_eq!(own.expect("memory enough").join(), 1);
}
