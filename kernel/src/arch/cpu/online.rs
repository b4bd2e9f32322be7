//! Which CPUs run, by which APIC id, and which of them are isolated. Anybody may ask, without a lock; `bringup` alone
//! changes it.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use vmalloc::CpuSet;

/// CPUs that the kernel uses at most: their numbers are below it.
pub const MAX_CPUS: usize = 64;
const _: () = assert!(MAX_CPUS <= vmalloc::MAX_CPUS);

/// The CPUs that run, as the bits of a [`CpuSet`].
static ONLINE: AtomicU64 = AtomicU64::new(0);
static APIC_IDS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
/// The CPUs that threads run on only if they ask for them, as the bits of a [`CpuSet`].
static ISOLATED: AtomicU64 = AtomicU64::new(0);

/// The CPUs that run.
#[inline]
pub fn online() -> CpuSet {
    CpuSet::from_bits(ONLINE.load(Ordering::Acquire))
}

/// How many CPUs run. They are numbered from 0.
#[inline]
pub fn online_count() -> usize {
    // They are numbered in the order in which they start, and none leaves.
    ONLINE.load(Ordering::Acquire).checked_ilog2().map_or(0, |last| last as usize + 1)
}

/// Tells everybody that the CPU numbered `number` runs, under this APIC id. It never leaves again.
pub(crate) fn set_online(number: usize, apic_id: u32) {
    APIC_IDS[number].store(apic_id, Ordering::Relaxed);
    ONLINE.fetch_or(1 << number, Ordering::Release);
}

/// The APIC id of a CPU that is online.
pub fn apic_id(number: usize) -> u32 {
    APIC_IDS[number].load(Ordering::Relaxed)
}

/// Whether threads run on the CPU only if they ask for it: the kernel parameter `isolated`.
#[inline]
pub fn is_isolated(number: usize) -> bool {
    number < MAX_CPUS && ISOLATED.load(Ordering::Relaxed) >> number & 1 != 0
}

/// The CPUs that are isolated, online or not.
pub fn isolated() -> CpuSet {
    CpuSet::from_bits(ISOLATED.load(Ordering::Relaxed))
}

/// Isolates these CPUs, and no others. Called once, at boot.
///
/// # Errors
/// CPU 0 is among them: what nobody asked a place for must run somewhere.
pub(crate) fn isolate(cpus: CpuSet) -> Result<(), IsolatesBootCpu> {
    if cpus.contains(0) {
        return Err(IsolatesBootCpu);
    }
    ISOLATED.store(cpus.bits(), Ordering::Relaxed);
    Ok(())
}

/// The boot CPU cannot be isolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IsolatesBootCpu;
