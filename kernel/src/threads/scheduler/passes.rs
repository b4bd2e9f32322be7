//! How often each CPU had nothing pinned: what grace periods are told by.

use crate::arch::cpu::MAX_CPUS;
use handover::Passes;

static PASSED: [Passes; MAX_CPUS] = [const { Passes::new() }; MAX_CPUS];

/// The passes of a CPU. It passes, with interrupts off, when nothing is pinned to it, and interrupts do not count.
pub(in crate::threads) fn of(cpu: usize) -> &'static Passes {
    &PASSED[cpu]
}
