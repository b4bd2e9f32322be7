//! What is wrong is refused with an error that tells what was found, and changes nothing.

use core::ptr::NonNull;
use kernel::{
    arch::{layout, paging::direct_map},
    memory,
};
use vmalloc::{AllocError, FreeError, PAGE_SIZE, Request};

fn free_at(address: usize) -> Result<(), FreeError> {
    let address = NonNull::new(address as *mut u8).expect("not null");
    // SAFETY: refused, or an area that the test allocated.
    unsafe { memory::vmalloc().vfree(address) }
}

#[test_case]
fn impossible_sizes_and_alignments_are_refused() {
    let vmalloc = memory::vmalloc();
    let (free, stats) = (memory::frames::counts().free, vmalloc.stats());
    assert_eq!(vmalloc.vmalloc(0), Err(AllocError::ZeroSize));
    for size in [layout::VMALLOC.len(), usize::MAX, usize::MAX - PAGE_SIZE + 2] {
        assert_eq!(vmalloc.vmalloc(size), Err(AllocError::TooLarge { size }));
    }
    for align in [0, 3, 4097] {
        assert_eq!(vmalloc.allocate(Request::new(1).align(align)), Err(AllocError::BadAlignment { align }));
    }
    assert!(matches!(
        vmalloc.allocate(Request::new(1).align(1 << 50)),
        Err(AllocError::OutOfAddressSpace { .. })
    ));
    assert_eq!((memory::frames::counts().free, vmalloc.stats()), (free, stats));
}

#[test_case]
fn more_than_there_is_memory_is_refused_and_given_back() {
    let bytes = memory::frames::counts().total as usize * PAGE_SIZE;
    assert!(matches!(memory::vmalloc().vmalloc(bytes + 1), Err(AllocError::OutOfFrames { .. })));
    assert!(matches!(
        memory::vmalloc().allocate(Request::new(bytes + 1).huge()),
        Err(AllocError::OutOfFrames { .. })
    ));
}

#[test_case]
fn an_area_cannot_be_freed_twice() {
    for pages in [1, 600] {
        let area = memory::vmalloc().vmalloc(pages * PAGE_SIZE).expect("memory enough").as_ptr() as usize;
        free_at(area).expect("allocated");
        assert!(matches!(free_at(area), Err(FreeError::NotAllocated { address, .. }) if address == area));
    }
}

#[test_case]
fn an_address_inside_an_area_is_refused_and_its_owner_named() {
    for pages in [3, 600] {
        let area = memory::vmalloc().vmalloc(pages * PAGE_SIZE).expect("memory enough").as_ptr() as usize;
        for offset in [1, PAGE_SIZE, (pages - 1) * PAGE_SIZE, pages * PAGE_SIZE] {
            let Err(FreeError::InsideArea { area: found, .. }) = free_at(area + offset) else {
                panic!("{offset:#x} lies inside the area");
            };
            assert_eq!((found.start, found.pages), (area, pages));
            assert!(found.caller.expect("known").file().ends_with("refusals.rs"));
        }
        free_at(area).expect("still allocated");
    }
}

#[test_case]
fn addresses_of_others_are_refused() {
    let local = 0_u64;
    let direct = direct_map::pointer(vmalloc::Frame::new(300)).as_ptr() as usize;
    for address in [core::ptr::from_ref(&local) as usize & !0xfff, direct, 0x1000, layout::VMALLOC.end] {
        assert!(free_at(address).is_err(), "{address:#x}");
    }
    let unused = layout::VMALLOC.end - PAGE_SIZE;
    assert!(matches!(free_at(unused), Err(FreeError::NotAllocated { .. })));
}

#[test_case]
fn every_address_knows_its_area() {
    let line = line!() + 1;
    let area = memory::vmalloc().vmalloc(2 * PAGE_SIZE + 100).expect("memory enough").as_ptr() as usize;
    for offset in [0, 77, 2 * PAGE_SIZE, 3 * PAGE_SIZE, 4 * PAGE_SIZE - 1] {
        let found = memory::vmalloc().find_area(area + offset).expect("inside");
        assert_eq!((found.start, found.pages, found.requested), (area, 3, 2 * PAGE_SIZE + 100));
        assert_eq!(found.caller.expect("known").line(), line);
    }
    let listed = memory::vmalloc().areas().filter(|found| found.start == area).count();
    assert_eq!(listed, 1);
    free_at(area).expect("allocated");
    assert!(memory::vmalloc().find_area(area).is_none());
}
