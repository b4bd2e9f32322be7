//! Somebody else maps a page in the range, as the page fault handler of a kernel may that maps one wherever it is missing.

extern crate std;

use crate::{
    BLOCK_PAGES, BLOCK_SIZE, CongruentArea, Frame, PAGE_SIZE, Request, Reuse, Vmalloc,
    arena::MAX_BLOCKS,
    tests::{
        machine::Machine,
        support::{START, address, at, free, instance_by, map_ram, policy, resize, take, unmap_ram},
    },
};
use std::{
    format,
    panic::{AssertUnwindSafe, catch_unwind},
    string::String,
    vec::Vec,
};

const BLOCKS: usize = 8;

fn instance(machine: &Machine) -> Vmalloc<&Machine> {
    // Each free is purged at once, so that a place is free soon.
    instance_by(machine, BLOCKS, policy().reuse(Reuse::AfterFlush))
}

/// Somebody writes by a wild pointer, and the fault handler maps a page there.
fn map_at(machine: &Machine, address: usize) {
    assert!(machine.map_missing(address), "nothing is at {address:#x}");
    machine.write(0, address, 77).expect("mapped");
}

/// The text by which `call` panics.
fn panic_of<T>(call: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(call()))).expect_err("the entry was not found");
    panic.downcast_ref::<String>().expect("a formatted text").clone()
}

/// What names the foreign page at an address.
fn named(machine: &Machine, address: usize) -> String {
    let frame = machine.translation(address).expect("mapped").frame;
    format!(
        "{address:#x} has the page table entry {:#x}: something else than vmalloc mapped it",
        frame << 12 | 0x63
    )
}

/// The instance has a block with free pages, in one of which something is mapped; each kind of area comes upon it. The
/// block's first page is an area of one page, so that those behind are free.
///
/// Seen failing: without the check (`expect_unused`) in `refill_some`, in `spare_frame`, and in `extend`.
#[test]
fn who_comes_upon_a_foreign_page_names_it() {
    type Call = fn(&Vmalloc<&Machine>) -> bool;
    const CALLS: [(usize, Call); 8] = [
        // The page itself, or its guard page, is foreign.
        (2, |vmalloc| vmalloc.vmalloc(PAGE_SIZE).is_ok()),
        (3, |vmalloc| vmalloc.vmalloc(PAGE_SIZE).is_ok()),
        (2, |vmalloc| vmalloc.vzalloc(PAGE_SIZE).is_ok()),
        (5, |vmalloc| vmalloc.vmalloc(4 * PAGE_SIZE).is_ok()),
        (2, |vmalloc| vmalloc.allocate(Request::new(PAGE_SIZE).guard_below()).is_ok()),
        (3, |vmalloc| vmalloc.allocate(Request::new(PAGE_SIZE).guard_below()).is_ok()),
        // It grows over the page, or its guard page is to be there.
        (2, |vmalloc| resize(vmalloc, at(START), 3).is_ok()),
        (3, |vmalloc| resize(vmalloc, at(START), 3).is_ok()),
    ];
    for ((page, call), has_spare) in CALLS.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let machine = Machine::new(1, 2000);
        let vmalloc = instance(&machine);
        let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
        assert_eq!((address(area), vmalloc.find_foreign()), (START, None));
        if has_spare {
            vmalloc.areas_room().pools.put_spare(0, take(&machine, 1)[0]);
        }
        let foreign = START + page * PAGE_SIZE;
        map_at(&machine, foreign);
        let found = vmalloc.find_foreign().expect("it is there");
        assert_eq!((found.address, format!("{found}")), (foreign, named(&machine, foreign)));
        assert_eq!(panic_of(|| call(&vmalloc)), named(&machine, foreign), "page {page}");
        core::mem::forget(vmalloc);
    }
}

/// Behind the guard page of an area that has blocks of its own, where nobody looks before the area is freed and flushed.
///
/// Seen failing with all entries cleared, not only the used ones.
#[test]
fn what_is_mapped_behind_a_run_is_named_when_the_run_goes() {
    let machine = Machine::new(1, 2000);
    let vmalloc = instance(&machine);
    let area = vmalloc.allocate(Request::new(600 * PAGE_SIZE).guard_below()).expect("room");
    let foreign = address(area) + 700 * PAGE_SIZE;
    map_at(&machine, foreign);
    let name = named(&machine, foreign);
    free(&vmalloc, area).expect("allocated");
    assert_eq!(panic_of(|| vmalloc.purge()), name);
    core::mem::forget(vmalloc);
}

/// A block of caller's frames: `vmap` and `vm_map_ram`.
///
/// Seen failing: without the check in `map_pages`, and in `give_cached_frames`.
#[test]
fn who_maps_frames_upon_a_foreign_page_names_it() {
    type Call = fn(&Vmalloc<&Machine>, &[Frame]) -> bool;
    let cases: [(usize, Call); 3] = [
        (4, |vmalloc, frames| vmalloc.vmap(&frames[..2], Default::default()).is_ok()),
        (4, |vmalloc, frames| map_ram(vmalloc, &frames[..2]).is_ok()),
        (3, |vmalloc, frames| map_ram(vmalloc, &frames[..1]).is_ok()),
    ];
    for (page, call) in cases {
        let machine = Machine::new(1, 2000);
        let vmalloc = instance(&machine);
        let frames = take(&machine, 3);
        let start = map_ram(&vmalloc, &frames).expect("room");
        assert_eq!(address(start), START);
        map_at(&machine, START + page * PAGE_SIZE);
        let text = panic_of(|| call(&vmalloc, &frames));
        assert_eq!(text, named(&machine, START + page * PAGE_SIZE));
        core::mem::forget(vmalloc);
    }
}

/// Directories that are missing are passed over, to the first page behind them.
///
/// Seen failing: with a step of a page less, or more.
#[test]
fn what_lies_behind_missing_directories_is_found() {
    const BLOCKS: usize = 4 * 512;
    let machine = Machine::new(1, 3000);
    let vmalloc = instance_by(&machine, BLOCKS, policy());
    let last = START + (BLOCKS - 1) * BLOCK_SIZE;
    let first = (START + 1).next_multiple_of(1 << 30) + (1 << 30);
    for foreign in [last, first] {
        assert_eq!(vmalloc.find_foreign().map(|found| found.address), (foreign == first).then_some(last));
        map_at(&machine, foreign);
    }
    assert_eq!(vmalloc.find_foreign().map(|found| found.address), Some(first));
    core::mem::forget(vmalloc);
}

/// A table that somebody else linked where a block is free, or a page of 2 MiB, is named by who opens the block; one in a
/// directory that is to go, by who looks.
///
/// Seen failing: without the assertion in `Blocks::make`; without the look in `unlink_directory`.
#[test]
fn who_comes_upon_a_foreign_table_names_it() {
    let calls: [fn(&Vmalloc<&Machine>) -> bool; 4] = [
        |vmalloc| vmalloc.vmalloc(PAGE_SIZE).is_ok(),
        |vmalloc| vmalloc.vmalloc(2 * BLOCK_SIZE).is_ok(),
        |vmalloc| vmalloc.allocate(Request::new(BLOCK_SIZE).huge()).is_ok(),
        |vmalloc| {
            vmalloc.allocate_congruent(&[CongruentArea { offset: 0, size: PAGE_SIZE }], PAGE_SIZE).is_ok()
        },
    ];
    for call in calls {
        let machine = Machine::new(1, 3000);
        let vmalloc = instance(&machine);
        map_at(&machine, START + 7 * PAGE_SIZE);
        assert_eq!(vmalloc.find_foreign().expect("it is there").address, START);
        let text = panic_of(|| call(&vmalloc));
        assert!(text.starts_with(&format!("{START:#x} has the page table entry 0x")), "{text}");
        core::mem::forget(vmalloc);
    }
    const GIB: usize = 1 << 30;
    let machine = Machine::new(1, 3000);
    let start = START & !(GIB - 1);
    // SAFETY: the machine's address space has nothing else in it.
    let vmalloc = unsafe { Vmalloc::new(&machine, start..start + GIB) }.expect("frames enough");
    // The library makes the directory.
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    free(&vmalloc, area).expect("allocated");
    let foreign = start + 300 * BLOCK_SIZE;
    map_at(&machine, foreign + PAGE_SIZE);
    let text = panic_of(|| vmalloc.trim());
    assert!(text.starts_with(&format!("{foreign:#x} has the page table entry 0x")), "{text}");
    core::mem::forget(vmalloc);
}

/// A purge compares the blocks that it flushes, in builds with debug assertions.
///
/// Seen failing: without the look in `begin_flush`.
#[test]
fn a_purge_names_what_is_mapped_in_free_pages() {
    let machine = Machine::new(1, 2000);
    let vmalloc = instance(&machine);
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    let frames = take(&machine, 1);
    // Somewhere in the block's free pages, and none of the bump run's, which other areas took.
    let foreign = START + 400 * PAGE_SIZE;
    map_at(&machine, foreign);
    free(&vmalloc, area).expect("allocated");
    assert_eq!(vmalloc.find_foreign().expect("it is there").address, foreign);
    assert_eq!(panic_of(|| vmalloc.purge()), named(&machine, foreign));
    core::mem::forget((vmalloc, frames));
}

/// Nothing of the library's own is taken for foreign, in whatever state its pages are.
#[test]
fn nothing_else_is_foreign() {
    let machine = Machine::new(1, 9000);
    let vmalloc = instance_by(&machine, 40, policy());
    let frames = take(&machine, BLOCK_PAGES + 5);
    let mut held = Vec::new();
    for round in 0..6 {
        for request in [1, 3, 16, 100, 600, 1100].map(|pages| Request::new(pages * PAGE_SIZE)) {
            for request in [request, request.huge().zeroed(), request.guard_below()] {
                held.extend(vmalloc.allocate(request).ok());
                assert_eq!(vmalloc.find_foreign(), None);
            }
        }
        for count in [1, 40, BLOCK_PAGES + 5] {
            let mapping = map_ram(&vmalloc, &frames[..count]).expect("room");
            assert_eq!(vmalloc.find_foreign(), None);
            unmap_ram(&vmalloc, mapping, count).expect("mapped");
            assert_eq!(vmalloc.find_foreign(), None);
        }
        for area in held.drain(..) {
            free(&vmalloc, area).expect("allocated");
            assert_eq!(vmalloc.find_foreign(), None);
        }
        if round < 3 {
            vmalloc.purge();
        } else {
            vmalloc.trim();
        }
        assert_eq!(vmalloc.find_foreign(), None);
    }
}

/// What is mapped right behind the range is not the instance's business, even where no arena goes that far.
///
/// Seen failing: with a look at the block behind the last one.
#[test]
fn what_is_mapped_behind_the_range_is_not_looked_at() {
    for blocks in [BLOCKS, MAX_BLOCKS] {
        let machine = Machine::new(1, 2000);
        let behind = START + blocks * BLOCK_SIZE;
        assert!(machine.map_missing(behind));
        let frame = machine.translation(behind).expect("mapped").frame;
        let vmalloc = instance_by(&machine, blocks, policy());
        assert_eq!(vmalloc.find_foreign(), None);
        drop(vmalloc);
        machine.give_back(Frame::new(frame));
        machine.assert_all_frames_back();
    }
}
