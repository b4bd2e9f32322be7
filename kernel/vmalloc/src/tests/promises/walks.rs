//! Page walks by another crate, which takes every entry but zero for one that is mapped.

use crate::{
    Frame, PAGE_SIZE, Platform,
    tests::{
        machine::Machine,
        support::{address, flushing, free},
    },
};
use x86_64::{
    VirtAddr,
    structures::paging::{MappedPageTable, PageTable, PhysFrame, Translate, mapper::PageTableFrameMapping},
};

struct Direct<'m>(&'m Machine);

// SAFETY: the direct map of the simulated machine shows each of its tables.
unsafe impl PageTableFrameMapping for Direct<'_> {
    fn frame_to_pointer(&self, frame: PhysFrame) -> *mut PageTable {
        self.0.direct_map(Frame::from(frame)).cast().as_ptr()
    }
}

/// Returns the physical address that `translate_addr` of the crate `x86_64` finds.
fn translate(machine: &Machine, address: usize) -> Option<u64> {
    let root = machine.direct_map(machine.root()).cast::<PageTable>();
    // SAFETY: nobody else uses the simulated tables meanwhile.
    let tables = unsafe { MappedPageTable::new(&mut *root.as_ptr(), Direct(machine)) };
    tables.translate_addr(VirtAddr::new(address as u64)).map(|physical| physical.as_u64())
}

/// Of what is mapped, both tell the frame. Of freed pages and of guard pages `translate_addr` tells one that nobody has
/// mapped there, and `frame_at` none.
///
/// Seen failing: with a `frame_at` that does not ask whether the entry is present.
#[test]
fn a_page_walk_that_takes_all_but_zero_for_mapped_finds_what_frame_at_does_not() {
    let machine = Machine::new(1, 2000);
    let vmalloc = flushing(&machine, 8);
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    let (page, guard) = (address(area), address(area) + PAGE_SIZE);
    let frame = vmalloc.frame_at(page).expect("mapped");
    assert_eq!(translate(&machine, page), Some(frame.address()));
    let looks_mapped = |address| {
        assert!(translate(&machine, address).is_some(), "{address:#x}");
        assert_eq!(vmalloc.frame_at(address), None);
    };
    looks_mapped(guard);
    free(&vmalloc, area).expect("allocated");
    looks_mapped(page);
}
