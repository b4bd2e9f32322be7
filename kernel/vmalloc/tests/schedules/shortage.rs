//! Shortages: an allocation gets what others cache, and what they are about to give back.

use crate::{
    explore::explore,
    machine::{Cpu, Model},
};

/// Two CPUs for which there are just frames enough if neither caches any: none is refused.
#[test]
fn nothing_is_refused_that_is_free() {
    explore(|| {
        let model = Model::flushing(2, 400);
        let others = std::sync::Mutex::new(Vec::new());
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
            // Each has a record and a block with its table and the descriptors' frame.
            vmalloc::Platform::take_frames(&cpu.machine, free - 24, |frame| others.push(frame));
        };
        model.run(prepare, &[&work, &work], |cpu| {
            others.lock().expect("no panic").drain(..).for_each(|frame| cpu.machine.give_back(frame));
        });
    });
}
