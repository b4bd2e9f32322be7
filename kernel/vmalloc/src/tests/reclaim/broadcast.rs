//! The simulated machine flushes all its CPUs by broadcast: nobody is interrupted, and nothing stale is
//! left.

extern crate std;

use crate::{
    BLOCK_SIZE, Cache, Forbid, PAGE_SIZE, Platform, Protection, Reach, Stamp,
    tests::{
        machine::{Machine, PageFault},
        support::{START, address, free, instance, random_work, unmap},
    },
};
use core::slice;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
};

const CPUS: usize = 4;
const ISOLATED: usize = 2;
const IDLE: usize = 3;

/// Isolated and idle CPUs are flushed like all others, at once, and have nothing to catch up with. Seen
/// failing with only the broadcasting CPU flushed; with `flushed` not advanced; with exact ranges given
/// up for isolated CPUs.
#[test]
fn a_broadcast_reaches_every_cpu_and_interrupts_none() {
    let machine = &Machine::broadcasting(CPUS, 500);
    let shootdown = machine.shootdown();
    machine.run_on(ISOLATED);
    // SAFETY: it is online already, and is isolated from now on.
    unsafe { shootdown.set_online(&machine, true) };
    machine.run_on(0);
    let vmalloc = instance(machine, 4);
    vmalloc.tunables().single_page_flush_ceiling.store(10, Ordering::Relaxed);
    for (pages, expected) in [(9, (1, 0)), (60, (0, 1))] {
        let (broadcasts, full) = (machine.broadcasts(), machine.full_flushes());
        let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
        (0..CPUS).for_each(|cpu| machine.write(cpu, address(area), 1).expect("mapped"));
        machine.run_on(IDLE);
        // SAFETY: the CPU touches nothing until it has left idleness.
        unsafe { shootdown.enter_idle(&machine) };
        machine.run_on(0);
        free(&vmalloc, area).expect("allocated");
        assert_eq!((vmalloc.purge(), vmalloc.stats().lazy), (pages + 1, 0), "nothing waits");
        (0..CPUS).for_each(|cpu| assert_eq!(machine.read(cpu, address(area)), Err(PageFault)));
        machine.run_on(IDLE);
        shootdown.leave_idle(&machine);
        machine.run_on(0);
        let after = machine.broadcasts();
        assert_eq!((after.0 - broadcasts.0, after.1 - broadcasts.1), expected, "{pages} pages");
        assert_eq!((machine.page_flushes(), machine.full_flushes() - full), (0, 0));
    }
    assert_eq!(machine.interrupts(), 0);
    assert_eq!(shootdown.counters(0).broadcasts.load(Ordering::Relaxed), 2);
}

/// A stamp is flushed when every CPU has flushed since, and only then. Seen failing with `flushed` not
/// advanced, and with a broadcast whether or not any CPU is behind.
#[test]
fn what_a_broadcast_flushed_is_not_flushed_again() {
    let machine = &Machine::broadcasting(2, 16);
    let shootdown = machine.shootdown();
    let round = |stamp: Stamp| shootdown.round(&machine, stamp, Reach::Considerate, Forbid::Use);
    let first = shootdown.stamp();
    assert!(!shootdown.is_flushed(first, Forbid::Use));
    assert!(round(first) && shootdown.is_flushed(first, Forbid::Use));
    assert!(round(first));
    assert_eq!(machine.broadcasts(), (0, 1));
    let second = shootdown.stamp();
    assert!(!shootdown.is_flushed(second, Forbid::Use), "it is later than the broadcast");
    assert!(round(second) && shootdown.is_flushed(second, Forbid::Use));
    assert_eq!(machine.broadcasts(), (0, 2));
}

/// What must not wait: frames of somebody else, protections, entries that moved.
#[test]
fn calls_that_flush_at_once_leave_nothing_stale() {
    let machine = &Machine::broadcasting(2, 6000);
    let vmalloc = instance(machine, 16);
    for pages in [3, 300, 700] {
        let device = vmalloc.ioremap(0xfee0_0000, pages * PAGE_SIZE, Cache::Uncached).expect("room");
        let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
        (0..2).for_each(|cpu| machine.write(cpu, address(area), 1).expect("mapped"));
        unmap(&vmalloc, device).expect("mapped");
        // SAFETY: nobody counts on the protection.
        unsafe { vmalloc.set_protection(area, pages * PAGE_SIZE, Protection::ReadOnly) }.expect("an area");
        // SAFETY: the test uses what it returns.
        let moved = unsafe { vmalloc.vrealloc(area, 2 * BLOCK_SIZE) }.expect("room");
        (0..2).for_each(|cpu| assert_eq!(machine.read(cpu, address(moved)), Ok(1)));
        machine.check();
        free(&vmalloc, moved).expect("allocated");
        vmalloc.purge();
        machine.check();
    }
    assert_eq!(machine.interrupts(), 0);
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Two machines that differ in how they flush do one random work, under the simulated TLBs' oracle.
#[test]
fn random_work_goes_the_same_way_by_broadcast_and_by_interrupt() {
    for seed in 11..=13 {
        let (interrupting, broadcasting) = (Machine::new(3, 6000), Machine::broadcasting(3, 6000));
        assert_eq!(random_work(&interrupting, seed), random_work(&broadcasting, seed));
        assert!(interrupting.interrupts() > 0 && interrupting.broadcasts() == (0, 0));
        let (pages, all) = broadcasting.broadcasts();
        assert!(broadcasting.interrupts() == 0 && pages > 0 && all > 0, "{pages} and {all} broadcasts");
    }
}

/// The report of a fault that comes in the middle of a read-side section begins another. Seen failing with each
/// counted: the broadcast did not wait.
#[test]
fn a_look_within_a_look_holds_broadcasts_off() {
    let machine = &Machine::broadcasting(2, 16);
    let shootdown = machine.shootdown();
    let page = START..START + PAGE_SIZE;
    machine.run_on(1);
    let broadcast = || {
        machine.run_on(0);
        let flush = || shootdown.flush_pages(&machine, slice::from_ref(&page), Forbid::Use);
        assert!(catch_unwind(AssertUnwindSafe(flush)).is_err(), "here who would wait panics");
        machine.run_on(1);
    };
    shootdown.look(&machine, || {
        shootdown.look(&machine, broadcast);
        broadcast();
    });
    machine.run_on(0);
    shootdown.flush_pages(&machine, slice::from_ref(&page), Forbid::Use);
}
