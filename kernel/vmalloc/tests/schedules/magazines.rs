//! Magazines: what is parked on one CPU, and closed by another.

use crate::{
    explore::explore,
    machine::{Cpu, Model},
};
use vmalloc::Reuse;

fn work(cpu: &Cpu<'_>) {
    let first = cpu.take(1);
    cpu.free(first);
    let second = cpu.take(1);
    let third = cpu.take(2);
    cpu.speculate();
    cpu.free(second);
    cpu.free(third);
}

/// Two CPUs park areas and take them again while a third one gives all caches back.
#[test]
fn what_is_parked_is_given_back_once() {
    explore(|| Model::new(3, 3000).run(work, &[&work, &work, &|cpu| cpu.vmalloc.trim()], |_| {}));
}

/// Two CPUs use their magazines while a third one closes them, and opens them again, and a fourth one gives them back.
#[test]
fn they_are_closed_and_opened_again() {
    explore(|| {
        let close = |cpu: &Cpu<'_>| {
            cpu.vmalloc.set_reuse(Reuse::AfterFlush);
            cpu.speculate();
            cpu.vmalloc.set_reuse(Reuse::Hot);
        };
        let release = |cpu: &Cpu<'_>| cpu.vmalloc.release_cpu(1);
        Model::new(4, 3000).run(work, &[&work, &work, &close, &release], |_| {});
    });
}
