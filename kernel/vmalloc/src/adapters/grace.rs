//! Grace periods by interrupts: a CPU that takes one was not pinned then, for pinned code has interrupts off.
//!
//! Whoever waits marks the other CPUs late and interrupts them; each handler clears its CPU's mark. Callers
//! hold no lock.

use crate::{
    CpuSet,
    atomic::{AtomicBool, Ordering},
    tlb::AtomicCpuSet,
};

pub(super) struct Grace {
    /// Whether somebody waits.
    busy: AtomicBool,
    /// CPUs that have not taken an interrupt yet.
    late: AtomicCpuSet,
}

impl Grace {
    pub fn new() -> Self {
        Self { busy: AtomicBool::new(false), late: AtomicCpuSet::new() }
    }

    /// Begins to wait for these CPUs, which the caller interrupts next. Returns false if somebody waits already.
    pub fn begin(&self, cpus: CpuSet) -> bool {
        let begins = !self.busy.swap(true, Ordering::SeqCst);
        if begins {
            cpus.iter().for_each(|cpu| _ = self.late.set(cpu, true));
        }
        begins
    }

    /// Returns when each of these CPUs has taken an interrupt since the wait [began](Self::begin), or is not `online` any
    /// more. `wait` waits for one of them: until what it is called with returns true.
    pub fn end(&self, cpus: CpuSet, online: impl Fn(usize) -> bool, wait: impl Fn(usize, &dyn Fn() -> bool)) {
        for cpu in cpus.iter() {
            wait(cpu, &|| !self.late.load().contains(cpu) || !online(cpu));
        }
        self.busy.store(false, Ordering::SeqCst);
    }

    /// Says that this CPU takes an interrupt. What it did before is done for who waits.
    pub fn pass(&self, cpu: usize) {
        if self.late.load().contains(cpu) {
            self.late.set(cpu, false);
        }
    }
}
