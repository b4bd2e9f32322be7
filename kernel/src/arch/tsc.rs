//! Time: the time stamp counter, and how fast it runs.
//!
//! Under `-icount` it counts instructions, each as 2^shift nanoseconds.

use calibration::Clock;
use spin::Once;

static KILOHERTZ: Once<u64> = Once::new();

/// The counter now, in cycles. Earlier instructions are done; later ones may have started.
#[inline]
pub fn now() -> u64 {
    // SAFETY: both instructions exist on every x86-64 CPU and touch nothing.
    unsafe {
        core::arch::x86_64::_mm_lfence();
        core::arch::x86_64::_rdtsc()
    }
}

/// Tells how fast the counter runs, on all CPUs. Called once, by the boot CPU, when that was measured.
pub(crate) fn set_frequency(hertz: u64) {
    KILOHERTZ.call_once(|| hertz / 1000);
}

/// The counter as a clock, to measure others by. Needs [`set_frequency`].
pub(super) struct Counter;

impl Clock for Counter {
    fn hertz(&self) -> u64 {
        kilohertz() * 1000
    }

    fn bits(&self) -> u32 {
        u64::BITS
    }

    fn read(&mut self) -> u64 {
        now()
    }
}

/// Spins until `done` or until `microseconds` have passed; whether it was done in time. Needs
/// [`set_frequency`].
pub fn spin_until(microseconds: u64, done: impl Fn() -> bool) -> bool {
    let cycles = microseconds * kilohertz() / 1000;
    let start = now();
    while !done() {
        // The thread may have come to a CPU whose counter is behind.
        if now().saturating_sub(start) >= cycles {
            return done();
        }
        core::hint::spin_loop();
    }
    true
}

/// Thousands of cycles a second; 0 before [`set_frequency`].
pub fn kilohertz() -> u64 {
    KILOHERTZ.get().copied().unwrap_or(0)
}

/// Microseconds as cycles, rounded up; as many as there can be if they are more.
pub fn cycles(microseconds: u64) -> u64 {
    let cycles = (u128::from(microseconds) * u128::from(kilohertz())).div_ceil(1000);
    u64::try_from(cycles).unwrap_or(u64::MAX)
}

/// Cycles as microseconds.
pub fn microseconds(cycles: u64) -> u64 {
    match kilohertz() {
        0 => 0,
        kilohertz => (u128::from(cycles) * 1000 / u128::from(kilohertz)) as u64,
    }
}
