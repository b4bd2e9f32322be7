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

/// Cycles since the counter was `start`; 0 where the thread has come to a CPU whose counter is behind.
#[inline]
#[must_use]
pub fn since(start: u64) -> u64 {
    now().saturating_sub(start)
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

/// Microseconds between two looks at the time of which more count for no more: the machine was stopped meanwhile, and so
/// were the CPUs that it waits for.
const STOPPED: u64 = 100_000;

/// The time that is left for something to be done, as far as the machine runs: where a hypervisor stops all of it, the counter
/// goes on.
pub(crate) struct TimeLeft {
    cycles: u64,
    last: u64,
    /// What counts at most for one look.
    most: u64,
}

impl TimeLeft {
    /// Begins to count now. Needs [`set_frequency`].
    pub(crate) fn new(microseconds: u64) -> Self {
        Self { cycles: cycles(microseconds), last: now(), most: cycles(STOPPED) }
    }

    /// Whether the time is over. It is looked at again and again.
    pub(crate) fn is_over(&mut self) -> bool {
        let now = now();
        // The thread may have come to a CPU whose counter is behind.
        let passed = now.saturating_sub(self.last).min(self.most);
        self.cycles = self.cycles.saturating_sub(passed);
        self.last = now;
        self.cycles == 0
    }
}

/// Spins until `done` or until `microseconds` have passed; whether it was done in time. Needs
/// [`set_frequency`].
pub fn spin_until(microseconds: u64, done: impl Fn() -> bool) -> bool {
    let mut left = TimeLeft::new(microseconds);
    while !done() {
        if left.is_over() {
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
