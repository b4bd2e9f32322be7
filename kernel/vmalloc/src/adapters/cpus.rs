//! What only its kernel knows of a machine's CPUs.

use crate::CpuSet;
use core::hint::spin_loop;

/// What a machine of several CPUs asks of its kernel. A pair of closures, `(here, interrupt)`, will do.
pub trait Cpus {
    /// Returns the number of the current CPU, from 0 up to the number of others. It is called with interrupts
    /// off, and often: a register or a word of the CPU's own memory should hold it.
    #[doc(alias = "smp_processor_id")]
    fn here(&self) -> usize;

    /// Interrupts these CPUs, which never include the current one, and returns without waiting for them; their handlers
    /// call [`Machine::answer`](super::Machine::answer). The handlers must see what the caller wrote before:
    /// an x2APIC needs `mfence; lfence` before its register is written (Intel SDM 3A, section 11.12.3).
    fn interrupt(&self, cpus: CpuSet);

    /// Waits a little for another thread, with interrupts on, and returns true; or returns false if the
    /// caller may not wait: see [`Platform::pause`](crate::Platform::pause). It is also called before a grace
    /// period is waited for, and while another thread waits for one. The default spins. A kernel whose
    /// threads have strict priorities yields to all of them, or sleeps.
    fn pause(&self) -> bool {
        spin_loop();
        true
    }
}

/// For kernels that never call the library with preemption off and interrupts on: the default [`pause`](Cpus::pause) spins,
/// and says that the caller may wait wherever interrupts are on.
impl<H: Fn() -> usize, I: Fn(CpuSet)> Cpus for (H, I) {
    fn here(&self) -> usize {
        self.0()
    }

    fn interrupt(&self, cpus: CpuSet) {
        self.1(cpus);
    }
}

/// The CPU of a machine that has only one. Nothing waits on it: an allocation that finds no memory is refused
/// even while a preempted thread is giving some back. A kernel with threads that prefers to wait passes
/// [`several_cpus`](super::Machine::several_cpus) its own [`Cpus`], whose [`pause`](Cpus::pause) yields.
#[derive(Clone, Copy, Debug)]
pub struct OneCpu;

impl Cpus for OneCpu {
    #[inline]
    fn here(&self) -> usize {
        0
    }

    fn interrupt(&self, cpus: CpuSet) {
        unreachable!("one CPU is to interrupt {:?}", cpus);
    }

    fn pause(&self) -> bool {
        false
    }
}
