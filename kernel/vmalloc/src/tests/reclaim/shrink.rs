//! Giving back a part of what is cached, and what a CPU has cached.

extern crate std;

use crate::{
    BLOCK_SIZE, Owner, PAGE_SIZE, Platform, Request, Vmalloc,
    tests::{
        machine::Machine,
        support::{address, at, flushing, free, instance, leaked},
    },
};
use core::sync::atomic::Ordering;
use std::{boxed::Box, thread, time::Duration, vec::Vec};

/// Allocates and frees areas of `pages` pages.
fn come_and_go(vmalloc: &Vmalloc<&Machine>, pages: usize, count: usize) {
    let areas: Vec<_> = (0..count).map(|_| vmalloc.vmalloc(pages * PAGE_SIZE).expect("room")).collect();
    areas.into_iter().for_each(|area| free(vmalloc, area).expect("allocated"));
}

/// Seen failing with a limit for each block alone, and with frames counted that were not given.
#[test]
fn as_many_frames_are_given_back_as_are_asked_for() {
    let machine = Machine::new(2, 4000);
    let vmalloc = flushing(&machine, 8);
    // Holds its block, so that what is free there caches frames.
    let held = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    come_and_go(&vmalloc, 100, 8);
    vmalloc.purge();
    let cached = vmalloc.stats().kept;
    assert!(cached > 300, "{cached} frames are cached");
    for wanted in [1, 64, 65, 100] {
        let before = (machine.free_frames(), vmalloc.stats().kept);
        assert_eq!(vmalloc.shrink(wanted), wanted);
        let after = (machine.free_frames(), vmalloc.stats().kept);
        assert_eq!((after.0 - before.0, before.1 - after.1), (wanted, wanted));
    }
    assert_eq!(vmalloc.shrink(0), 0);
    free(&vmalloc, held).expect("allocated");
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Seen failing with magazines that are closed though enough was cached, and with tables left in reserve though it was not.
#[test]
fn no_more_goes_than_must() {
    let machine = Machine::new(2, 30_000);
    let vmalloc = instance(&machine, 40);
    let held = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    come_and_go(&vmalloc, 100, 30);
    // Too long to be cached: its tables go into the reserve.
    come_and_go(&vmalloc, 17 * 512 - 1, 1);
    vmalloc.purge();
    let before = vmalloc.stats();
    assert!(before.parked > 0 && before.kept > 2 && before.reserved_tables > 0, "{before:?}");
    assert_eq!(vmalloc.shrink(2), 2);
    assert_eq!((vmalloc.stats().parked, vmalloc.stats().kept), (before.parked, before.kept - 2));
    assert!(vmalloc.shrink(usize::MAX) >= before.kept - 2 + before.reserved_tables);
    let after = vmalloc.stats();
    assert_eq!((after.parked, after.kept, after.reserved_tables), (0, 0, 0));
    free(&vmalloc, held).expect("allocated");
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Of an area too long to be cached. Seen failing with only those counted that free pages cached: all caches went, and the
/// answer was a few.
#[test]
fn frames_that_go_back_by_themselves_count() {
    let machine = Machine::new(1, 30_000);
    let vmalloc = flushing(&machine, 40);
    let cached = vmalloc.vmalloc(100 * PAGE_SIZE).expect("room");
    free(&vmalloc, cached).expect("allocated");
    vmalloc.purge();
    vmalloc.tunables().lazy_max_pages.store(100_000, Ordering::Relaxed);
    let pages = 17 * 512 - 1;
    come_and_go(&vmalloc, pages, 1);
    let (before, tables) = (machine.free_frames(), vmalloc.stats().reserved_tables);
    let given = vmalloc.shrink(1000);
    assert_eq!(machine.free_frames() - before, given);
    assert!(given >= pages, "{given}");
    assert!(vmalloc.stats().reserved_tables > tables, "it had enough");
}

/// Seen failing with magazines, and with what waits for a flush, left out.
#[test]
fn what_is_parked_and_what_waits_is_given_back_if_it_must() {
    for reuse in [instance, flushing] {
        let machine = Machine::new(2, 4000);
        let vmalloc = reuse(&machine, 8);
        let held = vmalloc.vmalloc(PAGE_SIZE).expect("room");
        machine.run_on(1);
        come_and_go(&vmalloc, 2, 4);
        machine.run_on(0);
        let before = machine.free_frames();
        assert_eq!(vmalloc.stats().kept, 0);
        let given = vmalloc.shrink(3);
        assert_eq!(machine.free_frames() - before, given);
        // The magazines' own frames may be among them, which go when what is parked does.
        assert!((3..=5).contains(&given), "{given}");
        assert_eq!((vmalloc.stats().parked, vmalloc.stats().lazy), (0, 0));
        machine.check();
        let before = machine.free_frames();
        let given = vmalloc.shrink(usize::MAX);
        assert_eq!(machine.free_frames() - before, given);
        assert_eq!(vmalloc.shrink(1), 0, "nothing is left");
        assert_eq!(vmalloc.find_area(address(held)).map(|area| area.pages), Some(1));
        free(&vmalloc, held).expect("allocated");
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// Seen failing with magazines, runs or tables in reserve left out, and with the magazines or runs of all CPUs emptied.
#[test]
fn a_cpu_that_goes_leaves_nothing_behind() {
    let machine = Machine::new(2, 40_000);
    let vmalloc = instance(&machine, 64);
    let runs = [0, 1].map(|_| vmalloc.vmalloc(700 * PAGE_SIZE).expect("room"));
    for (cpu, run) in runs.into_iter().enumerate() {
        machine.run_on(cpu);
        come_and_go(&vmalloc, 1, 1);
        free(&vmalloc, run).expect("allocated");
        // Too long to be cached: its tables go into the reserve.
        come_and_go(&vmalloc, 17 * 512 - 1, 1);
        vmalloc.purge();
        assert!(vmalloc.blocks().reserved_leaves_here() > 0);
    }
    let parked = || {
        let pin = (&machine).pin();
        vmalloc.areas_room().magazines.count(&pin).own_frames
    };
    let before = (parked(), vmalloc.areas_room().cached_blocks());
    assert_eq!(before, (4, 4), "both have parked an area, and cached a run");
    machine.run_on(0);
    vmalloc.release_cpu(1);
    assert_eq!((parked(), vmalloc.areas_room().cached_blocks()), (2, 2));
    machine.check();
    // CPU 0 still has its own.
    assert!(vmalloc.blocks().reserved_leaves_here() > 0);
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    assert_eq!(vmalloc.stats().parked, 0);
    free(&vmalloc, area).expect("allocated");
    // And CPU 1 may come back.
    machine.run_on(1);
    assert_eq!(vmalloc.blocks().reserved_leaves_here(), 0);
    come_and_go(&vmalloc, 1, 2);
    assert_eq!(parked(), 4);
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Seen failing, with a refusal, without the wait for who gives magazines back.
#[test]
fn what_another_gives_back_is_waited_for() {
    let (machine, vmalloc) = leaked(2, 4000, 1);
    machine.run_on(1);
    come_and_go(vmalloc, 1, 1);
    machine.run_on(0);
    let held = machine.hold_grace();
    let trim = thread::spawn(|| vmalloc.trim());
    while !machine.is_waiting() {
        thread::yield_now();
    }
    // It needs the whole block, in which a page is parked.
    let block = Request::new(PAGE_SIZE).align(BLOCK_SIZE);
    let allocation = thread::spawn(move || vmalloc.allocate(block).map(|area| area.as_ptr() as usize));
    // Time for a refusal.
    thread::sleep(Duration::from_millis(100));
    drop(held);
    trim.join().expect("done");
    let area = allocation.join().expect("done").expect("room");
    free(vmalloc, at(area)).expect("allocated");
    vmalloc.trim();
    assert_eq!(vmalloc.stats().free, vmalloc.stats().total);
}

/// Another CPU has all free pages in its hands, on their way from one place to another. Seen failing, with a refusal,
/// without the second look.
#[test]
fn room_in_the_hands_of_another_cpu_is_waited_for() {
    let machine = &*Box::leak(Box::new(Machine::new(2, 4000)));
    // Without magazines, which would be waited for.
    let vmalloc = &*Box::leak(Box::new(flushing(machine, 1)));
    machine.run_on(1);
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    let pools = &vmalloc.areas_room().pools;
    let held = machine.hold_grace();
    let pin = vmalloc.platform().pin();
    let (page, slots) = pools.take_rest(&pin, Owner::Area).expect("the rest of the only block");
    machine.run_on(0);
    let allocation =
        thread::spawn(move || vmalloc.vmalloc(100 * PAGE_SIZE).map(|area| area.as_ptr() as usize));
    while !machine.is_waiting() && !allocation.is_finished() {
        thread::yield_now();
    }
    pools.give_unused(&pin, page, slots.len());
    drop((pin, held));
    let other = allocation.join().expect("done").expect("room");
    [area, at(other)].into_iter().for_each(|area| free(vmalloc, area).expect("allocated"));
    vmalloc.trim();
    assert_eq!(vmalloc.stats().free, vmalloc.stats().total);
}

/// Seen failing with the blocks left in the bins of its pools.
#[test]
fn a_cpu_that_goes_leaves_no_empty_block() {
    let machine = Machine::new(2, 40_000);
    let vmalloc = flushing(&machine, 64);
    machine.run_on(1);
    come_and_go(&vmalloc, 1, 3);
    vmalloc.purge();
    let blocks = || {
        let mut blocks = 0;
        vmalloc.for_each_block(|block| blocks += block.blocks);
        blocks
    };
    assert_eq!(blocks(), 1);
    machine.run_on(0);
    vmalloc.release_cpu(1);
    vmalloc.purge();
    assert_eq!(blocks(), 0);
}
