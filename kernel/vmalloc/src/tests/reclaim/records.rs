//! Records of nothing go: when, what is done meanwhile, and what is there afterwards.

extern crate std;

use crate::{
    AllocError, BLOCK_PAGES, BLOCK_SIZE, FreeError, PAGE_SIZE, Platform, Request, Returned, Vmalloc,
    blocks::records::{Descriptors, Directory, Record},
    tests::{
        machine::{Machine, Random},
        support::{address, free, take},
    },
};
use core::ptr::NonNull;
use std::{thread, vec::Vec};

/// Where a directory of page tables starts.
const START: usize = 0xffff_c900_4000_0000;
/// Blocks of two directories of records and a part of a third, and whole ones of page tables.
const BLOCKS: usize = 43 * 512;
const _: () = assert!(BLOCKS > 2 * Directory::BLOCKS);

fn instance(machine: &Machine) -> Vmalloc<&Machine> {
    // SAFETY: the machine's address space has nothing else in it.
    unsafe { Vmalloc::new(machine, START..START + BLOCKS * BLOCK_SIZE) }.expect("frames enough")
}

/// A page that has a certain block for itself.
fn in_block(block: usize) -> Request {
    let start = START + block * BLOCK_SIZE;
    Request::new(PAGE_SIZE).within(start, start + BLOCK_SIZE)
}

fn allocate(vmalloc: &Vmalloc<&Machine>, block: usize) -> NonNull<u8> {
    vmalloc.allocate(in_block(block)).expect("room")
}

/// First and last blocks of frames, of directories, of the instance.
const EDGES: [usize; 9] = [
    0,
    Descriptors::BLOCKS - 1,
    Descriptors::BLOCKS,
    Directory::BLOCKS - 1,
    Directory::BLOCKS,
    Directory::BLOCKS + 77,
    2 * Directory::BLOCKS - 1,
    2 * Directory::BLOCKS,
    BLOCKS - 1,
];

/// Whatever stays allocated, its record alone stays. Seen failing when the frames of descriptors stay, when the
/// maps stay, when a record goes of which one block is used, and when the last record counts as full.
#[test]
fn records_go_with_their_last_area() {
    let machine = Machine::new(2, 6000);
    let vmalloc = instance(&machine);
    let before = machine.free_frames();
    for last in EDGES {
        let mut areas: Vec<_> = EDGES.iter().map(|&block| (block, allocate(&vmalloc, block))).collect();
        assert_eq!(vmalloc.stats().metadata_frames, 8 + 3 + 2, "descriptors, directories, maps");
        areas.sort_by_key(|&(block, _)| block == last);
        let (_, kept) = areas.pop().expect("some");
        areas.into_iter().for_each(|(_, area)| free(&vmalloc, area).expect("allocated"));
        vmalloc.trim();
        assert_eq!(vmalloc.stats().metadata_frames, 3, "descriptors, directory and map of block {last}");
        assert_eq!(vmalloc.find_area(address(kept)).expect("allocated").pages, 1);
        free(&vmalloc, kept).expect("allocated");
        vmalloc.trim();
        assert_eq!((vmalloc.stats().metadata_frames, machine.free_frames()), (0, before), "block {last}");
        assert_eq!(vmalloc.stats().free, BLOCKS * BLOCK_PAGES, "address space is missing");
    }
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// A grace period for each 64 frames, or for a directory, and none for nothing. Seen failing with one for each frame.
#[test]
fn many_records_share_a_grace_period() {
    let machine = Machine::new(1, 6000);
    let vmalloc = instance(&machine);
    let fill =
        || (0..130).map(|frame| allocate(&vmalloc, (1 + frame) * Descriptors::BLOCKS)).collect::<Vec<_>>();
    let areas = fill();
    areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    vmalloc.trim();
    assert_eq!((machine.grace_periods(), vmalloc.stats().metadata_frames), (1, 0), "the directory");
    let (first, areas) = (allocate(&vmalloc, 0), fill());
    areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    vmalloc.trim();
    assert_eq!((machine.grace_periods(), vmalloc.stats().metadata_frames), (1 + 3, 3));
    vmalloc.trim();
    assert_eq!(machine.grace_periods(), 4, "there is nothing to wait for");
    free(&vmalloc, first).expect("allocated");
}

/// Seen failing when what was unlinked is not linked again.
#[test]
fn where_nobody_can_wait_records_stay() {
    let machine = Machine::new(2, 6000);
    let vmalloc = instance(&machine);
    let areas: Vec<_> = EDGES.iter().map(|&block| allocate(&vmalloc, block)).collect();
    let records = vmalloc.stats().metadata_frames;
    let held = areas[5];
    areas.into_iter().filter(|&area| area != held).for_each(|area| free(&vmalloc, area).expect("allocated"));
    machine.refuse_grace(true);
    // The arena's maps need no grace period: but for the one of what is held.
    for _ in 0..2 {
        vmalloc.trim();
        assert_eq!(vmalloc.stats().metadata_frames, records - 1);
        assert_eq!(vmalloc.stats().free, (BLOCKS - 1) * BLOCK_PAGES);
    }
    // Nothing was lost of it.
    let areas: Vec<_> =
        EDGES.iter().filter(|&&block| block != EDGES[5]).map(|&block| allocate(&vmalloc, block)).collect();
    assert_eq!(vmalloc.stats().metadata_frames, records, "no second record was made for a block");
    areas.into_iter().chain([held]).for_each(|area| free(&vmalloc, area).expect("allocated"));
    machine.refuse_grace(false);
    vmalloc.trim();
    assert_eq!(vmalloc.stats().metadata_frames, 0);
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Not a frame is there when records go, as they mostly do when frames run out.
#[test]
fn no_memory_is_needed() {
    let machine = Machine::new(1, 6000);
    let vmalloc = instance(&machine);
    let before = machine.free_frames();
    let areas: Vec<_> = EDGES.iter().map(|&block| allocate(&vmalloc, block)).collect();
    areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    machine.fail_after(0);
    vmalloc.trim();
    machine.never_fail();
    assert_eq!((vmalloc.stats().metadata_frames, machine.free_frames()), (0, before));
}

/// Seen failing when a thorough purge leaves records alone.
#[test]
fn an_allocation_that_finds_no_frame_gets_those_of_records() {
    let machine = Machine::new(1, 1200);
    let vmalloc = instance(&machine);
    let areas: Vec<_> = (0..100).map(|frame| allocate(&vmalloc, frame * Descriptors::BLOCKS)).collect();
    areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    vmalloc.purge();
    let others = take(&machine, machine.free_frames());
    assert_eq!((machine.free_frames(), vmalloc.stats().metadata_frames), (0, 100 + 2));
    let area = vmalloc.vmalloc(50 * PAGE_SIZE).expect("fewer pages than records");
    free(&vmalloc, area).expect("allocated");
    (&machine).give_frames(Returned::new(others.into_iter()));
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// What other CPUs do while a grace period lasts. Seen failing when the frames go before the grace period.
#[test]
fn what_is_looked_for_while_records_go_is_not_there() {
    let machine = Machine::new(2, 6000);
    let vmalloc = instance(&machine);
    let area = allocate(&vmalloc, 7);
    free(&vmalloc, area).expect("allocated");
    vmalloc.trim();
    let before = machine.free_frames();
    let area = allocate(&vmalloc, 7);
    free(&vmalloc, area).expect("allocated");
    thread::scope(|scope| {
        let held = machine.hold_grace();
        let trim = scope.spawn(|| vmalloc.trim());
        while !machine.is_waiting() && !trim.is_finished() {
            thread::yield_now();
        }
        machine.run_on(1);
        // The map, the directory, the descriptors: readers may have them.
        assert_eq!(before - machine.free_frames(), 3);
        assert!(vmalloc.find_area(address(area)).is_none() && vmalloc.areas().next().is_none());
        assert!(vmalloc.frame_at(address(area)).is_none());
        assert!(matches!(free(&vmalloc, area), Err(FreeError::NotAllocated { .. })));
        assert_eq!(vmalloc.stats().free, (BLOCKS - Directory::BLOCKS) * BLOCK_PAGES);
        vmalloc.lazy_ranges(|range| panic!("{range:#x?} waits"));
        assert_eq!(
            vmalloc.allocate(in_block(8).no_wait()).map_err(AllocError::reason),
            Err(AllocError::NO_SPACE)
        );
        let other = allocate(&vmalloc, Directory::BLOCKS);
        free(&vmalloc, other).expect("allocated");
        // Who may wait does, and gets it.
        let waits = scope.spawn(|| address(allocate(&vmalloc, 7)));
        drop(held);
        trim.join().expect("no panic");
        assert_eq!(waits.join().expect("no panic"), address(area));
    });
    free(&vmalloc, area).expect("allocated");
    vmalloc.trim();
    assert_eq!(machine.free_frames(), before);
}

/// Blocks whose records come and go, in areas of all sorts.
#[test]
fn released_blocks_serve_again() {
    let machine = Machine::new(2, 9000);
    let vmalloc = instance(&machine);
    let before = machine.free_frames();
    let mut random = Random::new(7);
    let mut live: Vec<NonNull<u8>> = Vec::new();
    for round in 0..3000 {
        machine.run_on(random.below(2));
        machine.refuse_grace(random.below(4) == 0);
        let start = START + random.below(BLOCKS - 4) * BLOCK_SIZE;
        let size = PAGE_SIZE * random.pick(&[1, 30, BLOCK_PAGES - 1, BLOCK_PAGES, 3 * BLOCK_PAGES - 1]);
        if let Ok(area) = vmalloc.allocate(Request::new(size).within(start, start + 4 * BLOCK_SIZE)) {
            machine.write(0, address(area), round).expect("mapped");
            live.push(area);
        }
        while live.len() > 3 {
            free(&vmalloc, live.swap_remove(random.below(live.len()))).expect("allocated");
        }
        if round % 8 == 0 {
            vmalloc.trim();
            machine.check();
            assert!(live.iter().all(|&area| vmalloc.find_area(address(area)).is_some()));
        }
    }
    live.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    machine.refuse_grace(false);
    vmalloc.trim();
    assert_eq!((vmalloc.stats().metadata_frames, machine.free_frames()), (0, before));
}
