//! Cached runs: what a CPU keeps of long areas, which others take.

use crate::{
    explore::{LONG, explore_some},
    machine::{Cpu, Model},
};

/// Two CPUs free runs and take cached ones while a third one purges, and gives all caches back.
#[test]
fn a_cached_run_is_had_by_one() {
    explore_some(LONG, || {
        let work = |cpu: &Cpu<'_>| {
            for _ in 0..2 {
                let run = cpu.take(256);
                cpu.speculate();
                cpu.free(run);
            }
        };
        let trim = |cpu: &Cpu<'_>| {
            cpu.vmalloc.purge();
            cpu.speculate();
            cpu.vmalloc.trim();
        };
        Model { blocks: 6, ..Model::new(3, 3000) }.run(work, &[&work, &work, &trim], |_| {});
    });
}
