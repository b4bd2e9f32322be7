//! How the simulated machine's CPUs forget: each by itself, in interrupts, or all at once by a broadcast.

use super::{
    Machine, Moment, Tlb,
    others::Bar,
    threads::{self, Off},
};
use crate::{CpuSet, Flusher, PAGE_SIZE, Scope};

impl Machine {
    /// Returns how many interrupts were sent to make CPUs flush.
    pub fn interrupts(&self) -> usize {
        self.state().interrupts
    }

    /// Broadcasts of pages, and of everything.
    pub(crate) fn broadcasts(&self) -> (usize, usize) {
        self.state().broadcasts
    }
}

// SAFETY: 1. simulated CPUs only switch by `run_on`. 2. the TLBs are emptied under the lock that every access takes.
// 3. `wait` asserts it. 4. nobody acts under a `Bar`, of which there may be several.
unsafe impl Flusher for &Machine {
    fn here(&self) -> usize {
        self.current()
    }

    fn flush_page(&self, address: usize) {
        self.moment();
        let mut state = self.state();
        state.page_flushes += 1;
        let tlb = &mut state.tlbs[self.current()];
        tlb.forget(address);
        tlb.forget_tables();
    }

    fn flush_all(&self) {
        self.moment();
        let mut state = self.state();
        state.full_flushes += 1;
        state.tlbs[self.current()] = Tlb::default();
        drop(state);
        self.happened(Moment::Flush);
    }

    fn interrupt(&self, cpus: CpuSet) {
        let before = self.current();
        self.state().interrupts += cpus.count();
        for cpu in cpus.iter() {
            self.interrupt_thread(cpu, || {
                let was_asleep = self.is_asleep(cpu);
                self.wake(cpu);
                self.run_on(cpu);
                self.shootdown.answer(self);
                if was_asleep {
                    self.sleep(cpu);
                }
                self.run_on(before);
            });
        }
    }

    fn wait(&self, cpu: usize, done: impl Fn() -> bool) {
        let mut looks = 0;
        while !done() {
            looks += 1;
            // Who waits may have more to say than the CPU's answer.
            assert!(looks < 9 || threads::acting().is_some(), "CPU {cpu} did not flush in its interrupt");
            self.relax();
        }
    }

    fn uninterrupted(&self, serve: impl FnOnce()) {
        let (_bar, _reading, _off) = (Bar::new(), self.readers.read(), Off::new());
        serve();
    }

    fn broadcasts(&self) -> bool {
        self.broadcasts
    }

    /// A broadcast of pages leaves entries for other leaf tables in the CPUs' paging-structure caches.
    fn broadcast(&self, scope: Scope<'_>) {
        assert!(self.broadcasts);
        let mut state = self.state();
        match scope {
            Scope::Pages(_) => state.broadcasts.0 += 1,
            Scope::All => state.broadcasts.1 += 1,
        }
        for tlb in &mut state.tlbs {
            match scope {
                Scope::All => *tlb = Tlb::default(),
                Scope::Pages(ranges) => {
                    for page in ranges.iter().flat_map(|range| range.clone().step_by(PAGE_SIZE)) {
                        tlb.forget(page);
                        tlb.forget_ways(page);
                    }
                }
            }
        }
    }
}
