//! Stacks.

extern crate std;

use super::with_memory;
use crate::{AllocError, BLOCK_PAGES, BLOCK_SIZE, PAGE_SIZE, Stack, tests::machine::PageFault};
use std::format;

#[test]
fn a_stack_is_guarded_at_both_ends() {
    with_memory(1, 4 * BLOCK_PAGES, 8, |machine, vmalloc| {
        for (size, pages) in
            [(1, 1), (16 * PAGE_SIZE, 16), (16 * PAGE_SIZE + 1, 17), (BLOCK_SIZE, BLOCK_PAGES)]
        {
            let stack = Stack::new(vmalloc, size).expect("memory enough");
            let (range, guard) = (stack.range(), stack.guard());
            assert_eq!(range.len(), pages * PAGE_SIZE);
            assert_eq!(range.start, stack.bottom().as_ptr() as usize);
            assert_eq!(range.end, stack.top().as_ptr() as usize);
            assert!(range.end.is_multiple_of(16) && guard.end == range.start && guard.len() >= PAGE_SIZE);
            machine.write(0, range.end - 8, 1).expect("mapped");
            machine.write(0, range.start, 1).expect("mapped");
            for outside in [range.start - 8, guard.start, range.end] {
                assert_eq!(machine.write(0, outside, 1), Err(PageFault));
            }
            assert_eq!(format!("{stack:?}"), format!("Stack({:#x}..{:#x})", range.start, range.end));
            let hit = vmalloc.find_area(range.start - 8).expect("the stack's");
            assert_eq!((hit.guard_start(), hit.start), (guard.start, range.start));
        }
    });
}

#[test]
fn an_impossible_stack_is_refused() {
    with_memory(1, BLOCK_PAGES, 2, |_, vmalloc| {
        assert!(matches!(Stack::new(vmalloc, 0), Err(AllocError::ZeroSize)));
        assert!(matches!(Stack::new(vmalloc, usize::MAX), Err(AllocError::TooLarge { size: usize::MAX })));
    });
}
