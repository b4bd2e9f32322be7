//! Cached runs: what a CPU keeps of long areas, which others take.

use crate::{
    explore::{LONG, explore_some},
    machine::{Cpu, Model},
};

fn use_run(cpu: &Cpu<'_>) {
    let run = cpu.take(256);
    cpu.speculate();
    cpu.free(run);
}

/// Two CPUs take runs that one of them has cached, and free them, while a third one purges, and gives all caches back.
///
/// Seen failing with the lock opened between the look for a cached run and the taking; with runs cached before their flush.
#[test]
fn a_cached_run_is_had_by_one() {
    explore_some(LONG, || {
        let prepare = |cpu: &Cpu<'_>| {
            if cpu.number == 0 {
                [(); 2].map(|()| cpu.take(256)).into_iter().for_each(|run| cpu.free(run));
                cpu.vmalloc.purge();
                assert_eq!(cpu.vmalloc.stats().used(), 0, "they are cached");
            }
        };
        let trim = |cpu: &Cpu<'_>| {
            cpu.vmalloc.purge();
            cpu.speculate();
            cpu.vmalloc.trim();
        };
        Model { blocks: 6, ..Model::new(3, 9000) }.run(prepare, &[&use_run, &use_run, &trim], |_| {});
    });
}
