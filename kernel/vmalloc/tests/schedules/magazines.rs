//! Magazines: what is parked on one CPU, and closed by another.

use crate::{
    explore::explore,
    machine::{Cpu, Model},
};

/// Two CPUs park areas and take them again while a third one gives all caches back.
#[test]
fn what_is_parked_is_given_back_once() {
    explore(|| {
        let work = |cpu: &Cpu<'_>| {
            let first = cpu.take(1);
            cpu.free(first);
            let second = cpu.take(1);
            cpu.free(second);
        };
        Model::new(3, 3000).run(work, &[&work, &work, &|cpu| cpu.vmalloc.trim()], |_| {});
    });
}
