//! Purges where an isolated CPU is not interrupted, and where an idle one must be, on the simulated machine.

extern crate std;

use crate::{
    BLOCK_PAGES, BLOCK_SIZE, PAGE_SIZE, Platform, Request, Vmalloc,
    blocks::{Block, Role},
    pending::Pressure,
    tests::{
        machine::{Machine, PageFault},
        support::{START, address, flushing, free, instance},
    },
};
use core::sync::atomic::Ordering;
use std::vec::Vec;

/// A machine whose last CPU is isolated.
fn machine(cpus: usize, frames: usize) -> Machine {
    let machine = Machine::new(cpus, frames);
    machine.run_on(cpus - 1);
    // SAFETY: it is online already, and is isolated from now on.
    unsafe { Platform::shootdown(&&machine).set_online(&&machine, true) };
    machine.run_on(0);
    machine
}

/// Has a CPU flush for a reason of its own.
fn flush(machine: &Machine, cpu: usize) {
    machine.run_on(cpu);
    Platform::shootdown(&machine).flush_all_here(&machine);
    machine.run_on(0);
}

/// Small areas, runs that are cached, runs that are not. Seen failing when a purge does not ask who has flushed, and, of
/// runs, when each purge begins to wait anew.
#[test]
fn what_it_may_reach_waits_until_it_has_flushed() {
    for pages in [1, 40, 700, 20 * BLOCK_PAGES] {
        let machine = machine(2, 12_000);
        let vmalloc = flushing(&machine, 40);
        let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
        machine.write(1, address(area), 1).expect("mapped");
        free(&vmalloc, area).expect("allocated");
        vmalloc.purge();
        assert_eq!(machine.read(1, address(area)), Ok(1), "{pages} pages: it was disturbed");
        machine.check();
        assert!(vmalloc.stats().lazy > 0);
        flush(&machine, 1);
        vmalloc.purge();
        assert_eq!(machine.read(1, address(area)), Err(PageFault));
        assert_eq!(vmalloc.stats().lazy, 0, "{pages} pages");
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// A purge flushes what was freed since the one before, in a block where something waits for the isolated CPU, too.
///
/// Seen failing with pages that are flushed only after all that waits beside them has gone.
#[test]
fn what_is_freed_beside_what_waits_does_not_wait_for_it() {
    let machine = machine(2, 1000);
    let vmalloc = flushing(&machine, 8);
    let areas = [(); 2].map(|()| vmalloc.vmalloc(PAGE_SIZE).expect("room"));
    areas.iter().for_each(|&area| machine.write(1, address(area), 1).expect("mapped"));
    for area in areas {
        free(&vmalloc, area).expect("allocated");
        vmalloc.purge();
    }
    machine.check();
    assert_eq!(vmalloc.stats().lazy, 4, "with the guard pages");
    flush(&machine, 1);
    vmalloc.purge();
    assert_eq!(vmalloc.stats().lazy, 0);
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// A purge that begins makes free what the isolated CPU has flushed by now, and has the block until it ends. Seen
/// hanging when others, who give back their bump runs, close it meanwhile: it was in two lists.
#[test]
fn a_block_that_a_purge_has_is_closed_by_nobody_else() {
    let machine = machine(2, 4000);
    let vmalloc = flushing(&machine, 8);
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    machine.write(1, address(area), 1).expect("mapped");
    free(&vmalloc, area).expect("allocated");
    vmalloc.purge();
    // The purge begins, and another CPU trims.
    let pin = (&machine).pin();
    assert_eq!(vmalloc.blocks().block(0, &pin).pages.lock(&pin).end_flush(|_| true), 2);
    drop(pin);
    flush(&machine, 1);
    vmalloc.areas_room().pools.retire_current_blocks(0..crate::MAX_CPUS);
    vmalloc.areas_room().pools.close_empty_blocks(0..crate::MAX_CPUS);
    let role = vmalloc.blocks().with(0, Block::role);
    assert!(matches!(role, Role::Small { .. }), "{role:?}");
    vmalloc.purge();
    vmalloc.trim();
    assert_eq!(vmalloc.stats().leaf_tables, 0);
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// What waits for an isolated CPU counts as waiting, as there is no quarantine that holds it back.
///
/// Seen failing with a quarantine that always goes on.
#[test]
fn a_purge_without_a_quarantine_holds_nothing_back() {
    let machine = machine(2, 4000);
    let vmalloc = flushing(&machine, 8);
    vmalloc.tunables().lazy_max_pages.store(10, Ordering::Relaxed);
    // More than a CPU counts by itself.
    let areas: Vec<_> = (0..9).map(|_| vmalloc.vmalloc(100 * PAGE_SIZE).expect("room")).collect();
    for area in areas {
        machine.write(1, address(area), 1).expect("mapped");
        free(&vmalloc, area).expect("allocated");
    }
    vmalloc.purge();
    assert!(vmalloc.lazy_pages() > 900, "{}", vmalloc.lazy_pages());
    assert!(vmalloc.pending().pressure() == Pressure::High);
}

/// A block that waited before remembers nothing of it when it waits as part of a run.
/// Seen failing when a run that waits has the stamp of its last flush.
#[test]
fn a_run_waits_from_when_it_was_freed() {
    let machine = machine(2, 12_000);
    let vmalloc = instance(&machine, 40);
    for pages in [700, 20 * BLOCK_PAGES] {
        let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
        free(&vmalloc, area).expect("allocated");
        vmalloc.purge();
        flush(&machine, 1);
        vmalloc.purge();
        let again = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
        assert_eq!(again, area);
        machine.write(1, address(again), 1).expect("mapped");
        free(&vmalloc, again).expect("allocated");
        vmalloc.purge();
        assert!(vmalloc.stats().lazy > 0, "{pages} pages");
        assert_eq!(machine.read(1, address(again)), Ok(1));
        machine.check();
        flush(&machine, 1);
        vmalloc.purge();
        assert_eq!(vmalloc.stats().lazy, 0, "{pages} pages");
        vmalloc.trim();
    }
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// An idle CPU has the ways to an area's tables, and may walk through them when it wakes, before it has flushed. The
/// simulated machine says so when one of them is given back.
///
/// Seen failing: with idle CPUs not interrupted for freed runs (a leaf table); for directories.
#[test]
fn tables_are_not_given_back_while_an_idle_cpu_can_walk_through_them() {
    const GIB: usize = 1 << 30;
    let machine = Machine::new(2, 12_000);
    let start = START.next_multiple_of(GIB);
    // SAFETY: the machine's address space has nothing else in it.
    let vmalloc = unsafe { Vmalloc::new(&machine, start..start + 2 * GIB) }.expect("frames enough");
    vmalloc.tunables().table_reserve.store(0, Ordering::Relaxed);
    let area =
        vmalloc.allocate(Request::new(17 * BLOCK_SIZE).within(start + GIB, start + 2 * GIB)).expect("room");
    // A walk to the guard page: no translation, but the ways.
    assert_eq!(machine.read(1, address(area) + 17 * BLOCK_SIZE), Err(PageFault));
    machine.sleep(1);
    let tables = vmalloc.stats().leaf_tables;
    free(&vmalloc, area).expect("allocated");
    vmalloc.purge();
    assert!(vmalloc.stats().leaf_tables < tables, "the tables went");
    // By the directory alone: the block there has no table.
    machine.wake(1);
    assert_eq!(machine.read(1, start + GIB), Err(PageFault));
    machine.sleep(1);
    let directories = vmalloc.stats().directories;
    vmalloc.trim();
    assert!(vmalloc.stats().directories < directories, "the directory went");
    machine.wake(1);
    machine.check();
}
