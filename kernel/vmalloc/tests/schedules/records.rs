//! Records: what is given back while others look there.

use crate::{
    explore::explore,
    machine::{Cpu, Model},
};
use vmalloc::{BLOCK_SIZE, PAGE_SIZE};

/// The block in whose record, which no other block needs, areas come and go.
const FAR: usize = 30;

/// A CPU allocates and frees where another one gives records back, and a third one looks areas up.
#[test]
fn a_record_goes_when_nobody_reads_it() {
    explore(|| {
        let start = |cpu: &Cpu<'_>| cpu.vmalloc.range().start + FAR * BLOCK_SIZE;
        let work = move |cpu: &Cpu<'_>| {
            let there = start(cpu)..start(cpu) + BLOCK_SIZE;
            let far = cpu.try_take(1, |request| request.align(BLOCK_SIZE).within(there.start, there.end));
            let near = cpu.take(1);
            far.into_iter().for_each(|area| cpu.free(area));
            cpu.free(near);
        };
        let look = move |cpu: &Cpu<'_>| {
            for _ in 0..3 {
                let found = cpu.vmalloc.find_area(start(cpu));
                assert!(found.is_none_or(|area| (area.start, area.pages) == (start(cpu), 1)), "{found:?}");
                let count = cpu.vmalloc.areas().filter(|area| area.start.is_multiple_of(PAGE_SIZE)).count();
                assert!(count <= 2, "{count} areas");
            }
        };
        let trim = |cpu: &Cpu<'_>| {
            cpu.vmalloc.trim();
            cpu.vmalloc.trim();
        };
        Model { blocks: 40, ..Model::new(3, 1600) }.run(work, &[&work, &trim, &look], |_| {});
    });
}
