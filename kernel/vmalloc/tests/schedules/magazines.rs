//! Magazines: what is parked on one CPU, and closed by another.

use crate::{
    explore::explore,
    machine::{Cpu, Model},
};
use vmalloc::{Platform, Reuse};

/// Parks an area, and takes one.
fn work(cpu: &Cpu<'_>) {
    let first = cpu.take(1);
    cpu.free(first);
    let second = cpu.take(1);
    cpu.free(second);
}

/// A CPU parks areas and takes them again while another one gives all caches back.
///
/// Seen failing without the wait for a grace period between unlinking magazines and retiring what is parked there.
#[test]
fn what_is_parked_is_given_back_once() {
    explore(|| {
        let prepare = |cpu: &Cpu<'_>| {
            work(cpu);
            assert_ne!(cpu.vmalloc.stats().parked, 0, "nothing is parked");
        };
        Model::new(2, 1600).run(prepare, &[&work, &|cpu| cpu.vmalloc.trim()], |_| {});
    });
}

/// A CPU has nothing parked any more while another one, which is pinned, gives back what it can without waiting: it links
/// again what it had unlinked.
///
/// Seen failing without another look at what was linked again.
#[test]
fn none_is_left_when_they_were_out_of_sight_for_a_moment() {
    explore(|| {
        let close = |cpu: &Cpu<'_>| cpu.vmalloc.set_reuse(Reuse::AfterFlush);
        let release = |cpu: &Cpu<'_>| {
            let _pin = cpu.machine.pin();
            (0..6).for_each(|_| cpu.vmalloc.release_cpu(0));
        };
        let end = |cpu: &Cpu<'_>| {
            assert_eq!(cpu.vmalloc.stats().parked, 0);
        };
        Model::new(3, 1600).run(work, &[&|_| {}, &close, &release], end);
    });
}

/// Two CPUs use their magazines while a third one closes them, and opens them again, and a fourth one gives them back.
///
/// Seen failing as above.
#[test]
fn they_are_closed_and_opened_again() {
    explore(|| {
        let close = |cpu: &Cpu<'_>| {
            cpu.vmalloc.set_reuse(Reuse::AfterFlush);
            cpu.speculate();
            cpu.vmalloc.set_reuse(Reuse::Hot);
        };
        let release = |cpu: &Cpu<'_>| cpu.vmalloc.release_cpu(1);
        Model::new(4, 2600).run(work, &[&work, &work, &close, &release], |_| {});
    });
}
