//! What an instance has for each CPU: made when the CPU first allocates, and done without until then.

extern crate std;

use super::{
    machine::Machine,
    support::{address, flushing, free, instance, populate, take},
};
use crate::{
    AllocError, CongruentArea, CpuSet, MAX_CPUS, PAGE_SIZE, Platform, Protection, Returned, Vmalloc,
};
use core::sync::atomic::Ordering;
use std::{collections::BTreeSet, vec::Vec};

/// Bytes of a small stack, those that the simulated machine uses among them.
const STACK: usize = 64 << 10;

/// Seen failing with arrays of 64 CPUs in the instance (76672 bytes).
#[test]
fn an_instance_fits_anywhere() {
    assert!(size_of::<Vmalloc<&Machine>>() <= 4096, "{} bytes", size_of::<Vmalloc<&Machine>>());
}

/// Builds without optimisation copy an instance while they make it. Seen failing with arrays of 64 CPUs in the instance.
#[test]
fn an_instance_is_made_on_a_small_stack() {
    let make = || {
        let machine = Machine::new(1, 2000);
        let vmalloc = instance(&machine, 64);
        let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
        free(&vmalloc, area).expect("allocated");
    };
    std::thread::Builder::new().stack_size(STACK).spawn(make).expect("a thread").join().expect("room enough");
}

/// A CPU that frees and never allocated has no record, and takes no memory for one: it shares one with others. Seen failing
/// with a shared share that counts as pages, and with a record made by a free (it finds no frame).
#[test]
fn who_only_frees_needs_no_record() {
    let machine = Machine::new(4, 20_000);
    let vmalloc = instance(&machine, 64);
    let areas: Vec<_> =
        (0..300).map(|index| vmalloc.vmalloc(PAGE_SIZE * (1 + index % 50)).expect("room")).collect();
    let used = vmalloc.stats().used();
    let frames = vmalloc.stats().instance_frames;
    let mut freed = 0;
    for (index, area) in areas.into_iter().enumerate() {
        machine.run_on(1 + index % 3);
        // Without records they have no magazines: each page waits.
        freed += vmalloc.find_area(address(area)).expect("allocated").pages + 1;
        machine.fail_after(0);
        free(&vmalloc, area).expect("allocated");
        machine.never_fail();
    }
    assert_eq!((vmalloc.lazy_pages(), used), (freed as i64, freed));
    assert_eq!(vmalloc.stats().instance_frames, frames, "no record was made");
    vmalloc.purge();
    assert_eq!((vmalloc.lazy_pages(), vmalloc.stats().used()), (0, 0));
    machine.check();
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// As many CPUs as there can be: each allocates and frees its own areas and those of its neighbour, and all of them flush.
/// Seen failing with sets of 64 CPUs, and with mailboxes of the first 64 alone posted to (others read what was freed).
#[test]
fn machines_of_many_cpus() {
    let machine = Machine::new(MAX_CPUS, 60_000);
    let vmalloc = instance(&machine, 64);
    vmalloc.tunables().lazy_max_pages.store(4096, Ordering::Relaxed);
    let mut before = None;
    for cpu in (0..MAX_CPUS).rev().step_by(7) {
        machine.run_on(cpu);
        let areas = [1, 3, 40, 600].map(|pages| vmalloc.vmalloc(pages * PAGE_SIZE).expect("room"));
        for area in areas {
            machine.write(cpu, address(area), cpu as u64).expect("mapped");
            assert_eq!(machine.read(cpu, address(area)), Ok(cpu as u64));
        }
        if let Some(areas) = before.replace(areas) {
            areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
        }
        machine.check();
    }
    before.into_iter().flatten().for_each(|area| free(&vmalloc, area).expect("allocated"));
    vmalloc.trim();
    assert_eq!(vmalloc.stats().used(), 0);
    // Few pages go by mailbox.
    let frames = take(&machine, 2);
    let mapping = vmalloc.vm_map_ram(&frames, Protection::ReadWrite).expect("room");
    for cpu in [3, 70, MAX_CPUS - 1] {
        assert!(machine.read(cpu, address(mapping)).is_ok());
    }
    // SAFETY: the test does not use it afterwards but to see it fault.
    unsafe { vmalloc.vm_unmap_ram(mapping, 2) }.expect("mapped");
    let full = machine.full_flushes();
    vmalloc.vm_unmap_aliases();
    assert_eq!(machine.full_flushes(), full);
    (&machine).give_frames(Returned::new(frames.into_iter()));
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Nothing is lost where there is no frame for the record.
#[test]
fn without_a_frame_for_a_record_nothing_is_lost() {
    let machine = Machine::new(2, 20_000);
    let vmalloc = instance(&machine, 32);
    let first = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    let run = vmalloc.vmalloc(17 * 512 * PAGE_SIZE).expect("room");
    machine.run_on(1);
    // Too long to be cached: its tables go into the reserve that CPUs share, so that a block can be opened.
    free(&vmalloc, run).expect("allocated");
    vmalloc.purge();
    assert!(vmalloc.blocks().reserved_leaves_here() > 0);
    let mut results = BTreeSet::new();
    for allowance in 0..12 {
        machine.fail_after(allowance);
        let result = vmalloc.vmalloc(PAGE_SIZE);
        machine.never_fail();
        results.insert(result.is_ok());
        match result {
            Ok(area) => free(&vmalloc, area).expect("allocated"),
            Err(error) => assert_eq!(error.reason(), AllocError::NO_FRAMES),
        }
        vmalloc.purge();
    }
    assert_eq!(results.len(), 2, "some attempts fail and some do not");
    free(&vmalloc, first).expect("allocated");
    vmalloc.trim();
    assert_eq!(vmalloc.stats().free, vmalloc.stats().total);
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// A CPU that went offline is not interrupted, and forgets everything when it comes back. Seen failing with `set_offline`
/// that leaves it online, and without a flush when it comes online.
#[test]
fn a_cpu_goes_offline_and_comes_back() {
    let machine = Machine::new(3, 4_000);
    let vmalloc = instance(&machine, 8);
    machine.run_on(2);
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    machine.write(2, address(area), 7).expect("mapped");
    // SAFETY: the test does not run on it until it is online again.
    unsafe { (&machine).shootdown().set_offline(&&machine) };
    machine.run_on(0);
    vmalloc.release_cpu(2);
    free(&vmalloc, area).expect("allocated");
    let received = |cpu| (&machine).shootdown().counters(cpu).received.load(Ordering::Relaxed);
    let before = [received(1), received(2)];
    vmalloc.vm_unmap_aliases();
    vmalloc.trim();
    assert!(received(1) > before[0] && received(2) == before[1], "CPU 1 alone is interrupted");
    assert_eq!((&machine).shootdown().online_count(), 2);
    machine.run_on(2);
    // SAFETY: it has used no translation since.
    unsafe { (&machine).shootdown().set_online(&&machine, false) };
    assert!(machine.read(2, address(area)).is_err(), "it has forgotten the page");
    machine.check();
}

/// A CPU that has made congruent areas alone has no record of its own.
///
/// Seen failing with the share that CPUs have in common taken for one CPU's own once nothing was added to it.
#[test]
fn a_share_that_cpus_have_in_common_stays_one_when_nothing_is_added() {
    let machine = Machine::new(2, 1000);
    let vmalloc = instance(&machine, 8);
    let areas = [CongruentArea { offset: 0, size: 3 * PAGE_SIZE }];
    let make = || vmalloc.allocate_congruent(&areas, 1).expect("room");
    let free = |set| {
        // SAFETY: simulated memory, which nobody uses.
        unsafe { vmalloc.free_congruent(set) }.expect("allocated");
    };
    // None of its pages was populated.
    free(make());
    let set = make();
    populate(&vmalloc, set, 0..3).expect("room");
    free(set);
    assert_eq!((vmalloc.pending().share(0), vmalloc.lazy_pages()), (0, 3), "it is in the sum at once");
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Both the CPU that purges and one that it interrupts.
///
/// Seen failing with bytes counted in the place of pages.
#[test]
fn pages_that_are_flushed_one_by_one_are_counted() {
    let machine = Machine::new(2, 1000);
    let vmalloc = flushing(&machine, 8);
    let area = vmalloc.vmalloc(3 * PAGE_SIZE).expect("room");
    let platform = &machine;
    let shootdown = platform.shootdown();
    let flushed = || [0, 1].map(|cpu| shootdown.counters(cpu).pages.load(Ordering::Relaxed));
    assert_eq!(flushed(), [0, 0]);
    free(&vmalloc, area).expect("allocated");
    vmalloc.purge();
    assert_eq!(flushed(), [4, 4], "with the guard page");
}

/// Seen failing with a CPU that is added twice and then missing; and, by a panic, with a look at the word of the first number
/// that is no CPU's.
#[test]
fn a_set_has_what_was_added_and_nothing_that_is_no_cpu() {
    let all = (0..MAX_CPUS).fold(CpuSet::EMPTY, |set, cpu| set.with_if(cpu, true).with_if(cpu, true));
    assert_eq!(all.count(), MAX_CPUS);
    assert!(![MAX_CPUS, MAX_CPUS + 1, usize::MAX].into_iter().any(|cpu| all.contains(cpu)));
}
