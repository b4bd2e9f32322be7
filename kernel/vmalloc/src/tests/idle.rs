//! CPUs that a flush leaves alone: whom it interrupts, who catches up, and what is counted of it.

extern crate std;

use super::{
    machine::{Machine, PageFault},
    support::{address, flushing, free},
};
use crate::{Counters, Forbid, PAGE_SIZE, Platform, Vmalloc};
use core::sync::atomic::{AtomicU64, Ordering};

/// An instance whose flushes are of everything.
fn instance(machine: &Machine) -> Vmalloc<&Machine> {
    let vmalloc = flushing(machine, 2);
    vmalloc.tunables().single_page_flush_ceiling.store(0, Ordering::Relaxed);
    vmalloc
}

/// Has an area used by a CPU, freed and flushed by CPU 0. Returns where it was.
fn use_and_purge(machine: &Machine, vmalloc: &Vmalloc<&Machine>, cpu: usize) -> usize {
    machine.run_on(0);
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    machine.write(cpu, address(area), 7).expect("mapped");
    free(vmalloc, area).expect("allocated");
    vmalloc.purge();
    address(area)
}

/// Seen failing with a CPU that is not noted as idle, and with `Forbid` turned round.
#[test]
fn an_idle_cpu_is_not_interrupted_and_catches_up() {
    let machine = &Machine::new(2, 500);
    let vmalloc = instance(machine);
    let shootdown = machine.shootdown();
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    machine.write(1, address(area), 7).expect("mapped");
    machine.run_on(1);
    // SAFETY: the CPU touches nothing until it has left idleness.
    unsafe { shootdown.enter_idle(&machine) };
    machine.run_on(0);
    free(&vmalloc, area).expect("allocated");
    let stamp = shootdown.stamp();
    vmalloc.purge();
    assert_eq!((machine.interrupts(), shootdown.counters(1).idle.load(Ordering::Relaxed)), (0, 1));
    assert!(shootdown.is_flushed(stamp, Forbid::Use), "it uses nothing");
    assert!(!shootdown.is_flushed(stamp, Forbid::Speculation), "it may speculate");
    machine.run_on(1);
    let flushes = machine.full_flushes();
    shootdown.leave_idle(&machine);
    assert_eq!(machine.full_flushes(), flushes + 1);
    assert!(shootdown.is_flushed(stamp, Forbid::Speculation));
    assert_eq!(machine.read(1, address(area)), Err(PageFault));
    // SAFETY: as above.
    unsafe { shootdown.enter_idle(&machine) };
    shootdown.leave_idle(&machine);
    assert_eq!(machine.full_flushes(), flushes + 1, "there was nothing to catch up with");
    machine.run_on(0);
    vmalloc.vmalloc(PAGE_SIZE).expect("room");
}

/// Seen failing with CPUs that are counted as forced whether isolated or not, and with one that flushes without having been
/// idle.
#[test]
fn an_isolated_cpu_is_spared_until_it_must_flush() {
    let machine = &Machine::new(3, 500);
    let vmalloc = instance(machine);
    let shootdown = machine.shootdown();
    machine.run_on(2);
    // SAFETY: it is online already, and is isolated from now on.
    unsafe { shootdown.set_online(&machine, true) };
    let counted = |count: fn(&Counters) -> &AtomicU64| {
        [1, 2].map(|cpu| count(shootdown.counters(cpu)).load(Ordering::Relaxed))
    };
    use_and_purge(machine, &vmalloc, 2);
    assert_eq!((counted(|cpu| &cpu.spared), counted(|cpu| &cpu.forced)), ([0, 1], [0, 0]));
    machine.run_on(2);
    let flushes = machine.full_flushes();
    shootdown.leave_idle(&machine);
    assert_eq!(machine.full_flushes(), flushes, "it was not idle");
    machine.run_on(0);
    vmalloc.trim();
    assert_eq!(vmalloc.stats().lazy, 0);
    let forced = counted(|cpu| &cpu.forced);
    assert!(forced[0] == 0 && forced[1] > 0, "{forced:?}");
}
