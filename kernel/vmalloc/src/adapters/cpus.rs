//! The CPUs of a machine, as far as only its kernel knows.

use crate::CpuSet;
use core::hint::spin_loop;

/// What a machine of several CPUs asks of its kernel. A pair of closures, `(here, interrupt)`, does as well.
pub trait Cpus {
    /// Returns the number of the current CPU: 0, or up to as many as there are others. It is called with interrupts off, and
    /// often: a register or a word of the CPU's own memory should tell it.
    #[doc(alias = "smp_processor_id")]
    fn here(&self) -> usize;

    /// Interrupts these CPUs, among which the current one is not: the handler calls
    /// [`Machine::answer`](super::Machine::answer). It returns without waiting for them. What the caller wrote before is
    /// seen by the handlers: an x2APIC needs `mfence; lfence` before its register is written (Intel SDM 3A, section 11.12.3).
    fn interrupt(&self, cpus: CpuSet);

    /// Waits a little for another thread, with interrupts on, and returns true; or returns false if the caller may not wait:
    /// see [`Platform::pause`](crate::Platform::pause). It is asked before a grace period is waited for, too, and while
    /// another thread waits for one. The default spins. A kernel whose threads have strict
    /// priorities yields to all of them, or sleeps.
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

/// The CPU of a machine that has but one. Nobody waits on it: an allocation that finds no memory while a thread that is
/// preempted gives some back is refused. A kernel with threads that prefers to wait gives
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
