//! How often each CPU had nothing pinned: what grace periods are told by.

use crate::arch::cpu::MAX_CPUS;
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// How often a CPU had nothing pinned. Written by that CPU only.
#[repr(align(64))]
struct Passed(AtomicU64);

static PASSED: [Passed; MAX_CPUS] = [const { Passed(AtomicU64::new(0)) }; MAX_CPUS];

/// Notes that nothing is pinned to this CPU, and interrupts do not count. Called on it with interrupts
/// off.
pub(in crate::threads) fn pass(cpu: usize) {
    let count = &PASSED[cpu].0;
    // Release: all that the readers before did comes first. The fence: the readers behind see what was
    // done before the `synchronize` that this count lets go.
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
    fence(Ordering::SeqCst);
}

/// How often the CPU has passed. Acquire: who sees that it passed again sees what its readers did before.
pub(in crate::threads) fn count(cpu: usize) -> u64 {
    PASSED[cpu].0.load(Ordering::Acquire)
}
