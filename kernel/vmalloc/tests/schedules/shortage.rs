//! Shortages: an allocation gets what others cache, and what they are about to give back.

use crate::{
    explore::explore,
    machine::{Cpu, Model},
};
use std::sync::Mutex;
use vmalloc::Platform;

/// Frames for two areas of ten pages, a leaf table for each, a frame of descriptors and what leads there.
const ENOUGH: usize = 24;

/// Two CPUs for which there are just frames enough if neither caches any: none is refused.
///
/// Seen failing with the first refusal taken for the last one, whatever was freed meanwhile; and with the last attempt made
/// without the turn.
#[test]
fn nothing_is_refused_that_is_free() {
    explore(|| {
        let model = Model::flushing(2, 400);
        let others = Mutex::new(Vec::new());
        let work = |cpu: &Cpu<'_>| {
            for pages in [9, 10] {
                let area = cpu.take(pages);
                cpu.free(area);
            }
        };
        let prepare = |cpu: &Cpu<'_>| {
            // Records, tables and what else is made once is there.
            work(cpu);
            if cpu.number == 0 {
                return;
            }
            cpu.vmalloc.trim();
            let free = cpu.machine.free_frames();
            let mut others = others.lock().expect("no panic");
            cpu.machine.take_frames(free - ENOUGH, |frame| others.push(frame));
        };
        model.run(prepare, &[&work, &work], |cpu| {
            others.lock().expect("no panic").drain(..).for_each(|frame| cpu.machine.give_back(frame));
        });
    });
}
