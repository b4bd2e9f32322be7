//! Pools: pages that a CPU has for itself, which others take away.

use crate::{
    explore::explore,
    machine::{Cpu, Model},
};

/// Two CPUs take pages of their bump runs while a third one takes all away, and a fourth one counts.
///
/// Seen failing with a store in the place of the compare-and-swap by which a CPU takes pages of its bump run.
#[test]
fn a_bump_run_is_taken_away_whole() {
    explore(|| {
        let model = Model { blocks: 2, ..Model::flushing(4, 400) };
        let work = |cpu: &Cpu<'_>| {
            let areas = [1, 2, 1].map(|pages| cpu.take(pages));
            areas.into_iter().for_each(|area| cpu.free(area));
        };
        let trim = |cpu: &Cpu<'_>| {
            cpu.vmalloc.trim();
            cpu.vmalloc.shrink(2);
        };
        let count = |cpu: &Cpu<'_>| {
            let stats = cpu.vmalloc.stats();
            // It is counted while others change what is counted.
            assert!(stats.used() <= stats.total, "{stats:?}");
        };
        model.run(|_| {}, &[&work, &work, &trim, &count], |_| {});
    });
}
