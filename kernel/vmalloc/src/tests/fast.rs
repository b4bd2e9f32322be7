//! The fast path of each call serves what it is for. Where it does not the slow one does the same, so no other test on this
//! machine would tell.

extern crate std;

use crate::{
    BLOCK_PAGES, PAGE_SIZE, Protection, Reuse,
    page_table::Attributes,
    pending::Pressure,
    tests::{
        machine::Machine,
        support::{address, free, instance, instance_by, map_ram, policy, take, unmap_ram},
    },
    types::Owner,
};
use core::panic::Location;

/// Seen failing with any of the fast paths left out.
#[test]
fn a_mapping_needs_no_slow_path_once_its_cpu_has_pages() {
    for count in [1, 2, 3, 8, 9, 100, 170] {
        let machine = Machine::new(1, 2000);
        let vmalloc = instance(&machine, 8);
        let (areas, attributes) = (vmalloc.areas_room(), Attributes::ram(Protection::ReadWrite));
        let frames = take(&machine, count);
        // The slow path makes the CPU's magazine, and has it take a block.
        let [before, first] = [(); 2].map(|()| map_ram(&vmalloc, &frames).expect("room"));
        let mapped = match frames[..] {
            [frame] => areas.map_ram_page(frame, attributes),
            _ => areas.map_ram_pages(&frames, attributes),
        };
        let mapped = mapped.unwrap_or_else(|| panic!("{count} pages: the CPU has room"));
        unmap_ram(&vmalloc, mapped, count).expect("mapped");
        let unmapped = match count {
            1 => areas.unmap_ram_page(address(first)),
            _ => areas.unmap_ram(address(first), count),
        };
        assert!(unmapped.is_some_and(|pressure| pressure == Pressure::Low), "{count} pages");
        assert!(unmap_ram(&vmalloc, first, count).is_err(), "it is gone");
        unmap_ram(&vmalloc, before, count).expect("mapped");
        assert_eq!(vmalloc.stats().used(), 0);
    }
}

/// What is too long, or nothing, is left to the slow path.
#[test]
fn a_mapping_of_more_than_a_block_or_of_nothing_is_left_to_the_slow_path() {
    let machine = Machine::new(1, 2000);
    let vmalloc = instance(&machine, 8);
    let (areas, attributes) = (vmalloc.areas_room(), Attributes::ram(Protection::ReadWrite));
    let frames = take(&machine, BLOCK_PAGES + 1);
    let first = map_ram(&vmalloc, &frames[..1]).expect("room");
    for count in [0, BLOCK_PAGES + 1] {
        assert!(areas.map_ram_pages(&frames[..count], attributes).is_none());
        assert!(areas.map_ram_near(&frames[..count], attributes).is_none());
        assert!(areas.unmap_ram(address(first), count).is_none());
    }
    unmap_ram(&vmalloc, first, 1).expect("mapped");
}

/// Whether or not it is parked. Seen failing with either fast path left out.
#[test]
fn a_small_area_is_allocated_and_freed_by_the_fast_path() {
    let attributes = Attributes::new(Protection::ReadWrite, Owner::Area);
    for (policy, pages) in [policy(), policy().reuse(Reuse::AfterFlush)]
        .into_iter()
        .flat_map(|policy| [1, 2, 7, 16, 17, 100].map(|pages| (policy, pages)))
    {
        let machine = Machine::new(1, 2000);
        let vmalloc = instance_by(&machine, 8, policy);
        let areas = vmalloc.areas_room();
        // The CPU's first ones make what it has.
        for area in [(); 3].map(|()| vmalloc.vmalloc(pages * PAGE_SIZE).expect("room")) {
            free(&vmalloc, area).expect("allocated");
        }
        vmalloc.purge();
        let area = areas.allocate_hot(pages * PAGE_SIZE, attributes, Location::caller());
        let area = address(area.unwrap_or_else(|| panic!("{pages} pages: the CPU has room")));
        assert_eq!(vmalloc.find_area(area).expect("allocated").pages, pages);
        assert!(areas.free_hot(area + PAGE_SIZE).is_none(), "no area starts there");
        assert!(areas.free_hot(area).is_some(), "{pages} pages");
        assert!(areas.free_hot(area).is_none(), "it is gone");
        assert_eq!(vmalloc.stats().used(), 0);
    }
}

/// Seen failing with what is parked left to the slow path where zeros are asked for.
#[test]
fn what_is_parked_is_filled_with_zeros_by_the_fast_path() {
    let attributes = Attributes::new(Protection::ReadWrite, Owner::Area).zeroed();
    for pages in [1, 2, 5] {
        let machine = Machine::new(1, 2000);
        let vmalloc = instance(&machine, 8);
        // The CPU's first one makes its magazines.
        let [_, parked] = [(); 2].map(|()| {
            let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
            machine.write(0, address(area), 7).expect("mapped");
            free(&vmalloc, area).expect("allocated");
            area
        });
        let area = vmalloc.areas_room().allocate_hot(pages * PAGE_SIZE, attributes, Location::caller());
        assert_eq!(area, Some(parked), "{pages} pages");
        assert_eq!(machine.read(0, address(parked)), Ok(0));
        free(&vmalloc, parked).expect("allocated");
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// Seen failing with a fast path that refuses all.
#[test]
fn a_small_area_is_resized_where_it_is_by_the_fast_path() {
    let machine = Machine::new(1, 2000);
    let vmalloc = instance(&machine, 8);
    let area = vmalloc.vmalloc(9 * PAGE_SIZE).expect("room");
    let resize =
        |pages: usize| vmalloc.areas_room().resize_fast(address(area), pages * PAGE_SIZE, Location::caller());
    for pages in [4, 4, 9, 1] {
        assert!(resize(pages).is_some(), "{pages} pages");
        assert_eq!(vmalloc.find_area(address(area)).expect("allocated").pages, pages);
    }
    assert!(resize(0).is_none() && resize(BLOCK_PAGES).is_none(), "no small area is as long");
    free(&vmalloc, area).expect("allocated");
    assert!(resize(3).is_none(), "it is gone");
}
