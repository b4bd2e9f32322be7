//! Records: what is given back while others look there.

use crate::{
    explore::explore,
    machine::{Cpu, Model},
};
use core::sync::atomic::{AtomicBool, Ordering};
use vmalloc::BLOCK_SIZE;

/// The block in whose record, which no other block needs, areas come and go.
const FAR: usize = 30;
/// Looks while nobody else runs.
const MOST_LOOKS: usize = 2000;

fn start(cpu: &Cpu<'_>) -> usize {
    cpu.vmalloc.range().start + FAR * BLOCK_SIZE
}

/// Allocates and frees an area there. It may be refused: its record is being given back perhaps.
fn use_far(cpu: &Cpu<'_>) {
    let within = start(cpu)..start(cpu) + BLOCK_SIZE;
    let far = cpu.try_take(1, |request| request.align(BLOCK_SIZE).within(within.start, within.end));
    far.into_iter().for_each(|area| cpu.free(area));
}

/// A CPU gives records back, while another one looks areas up there, and a third one allocates and frees.
///
/// Seen to crash without the wait for a grace period.
#[test]
fn a_record_goes_when_nobody_reads_it() {
    explore(|| {
        let done = AtomicBool::new(false);
        let prepare = |cpu: &Cpu<'_>| {
            use_far(cpu);
            cpu.vmalloc.purge();
        };
        let look = |cpu: &Cpu<'_>| {
            for _ in (0..MOST_LOOKS).take_while(|_| !done.load(Ordering::Relaxed)) {
                let found = cpu.vmalloc.find_area(start(cpu));
                assert!(found.is_none_or(|area| (area.start, area.pages) == (start(cpu), 1)), "{found:?}");
            }
        };
        let trim = |cpu: &Cpu<'_>| {
            cpu.vmalloc.trim();
            done.store(true, Ordering::Relaxed);
        };
        let model = Model { blocks: 40, ..Model::flushing(3, 600) };
        model.run(prepare, &[&trim, &look, &use_far], |_| {});
    });
}
