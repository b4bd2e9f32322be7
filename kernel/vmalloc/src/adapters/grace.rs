//! Grace periods by interrupts: a CPU that takes one was not pinned when it came, for pinned code has interrupts off.
//!
//! Who waits sets a bit for each other CPU and interrupts these; each handler clears its own. Called with no lock held.

use crate::{CpuSet, MAX_CPUS};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Grace {
    /// Whether somebody waits.
    busy: AtomicBool,
    /// CPUs that have not taken an interrupt yet, a bit each.
    late: [AtomicU64; MAX_CPUS.div_ceil(64)],
}

impl Grace {
    /// Begins to wait for these CPUs, which the caller interrupts next. Returns false if somebody waits already.
    pub fn begin(&self, cpus: CpuSet) -> bool {
        if self.busy.swap(true, Ordering::SeqCst) {
            return false;
        }
        cpus.iter().for_each(|cpu| _ = self.late[cpu / 64].fetch_or(1 << (cpu % 64), Ordering::SeqCst));
        true
    }

    /// Returns when each of these CPUs has taken an interrupt since the wait [began](Self::begin). `wait` is called again
    /// and again with a CPU that is late.
    pub fn end(&self, cpus: CpuSet, wait: impl Fn(usize)) {
        for cpu in cpus.iter() {
            while self.is_late(cpu) {
                wait(cpu);
            }
        }
        self.busy.store(false, Ordering::SeqCst);
    }

    /// Says that this CPU takes an interrupt. What it did before is done for who waits.
    pub fn pass(&self, cpu: usize) {
        if self.is_late(cpu) {
            self.late[cpu / 64].fetch_and(!(1 << (cpu % 64)), Ordering::SeqCst);
        }
    }

    fn is_late(&self, cpu: usize) -> bool {
        self.late[cpu / 64].load(Ordering::SeqCst) >> (cpu % 64) & 1 != 0
    }
}
