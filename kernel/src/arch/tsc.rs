//! Time: the time stamp counter, and how fast it runs.
//!
//! Under `-icount` it counts instructions, each as 2^shift nanoseconds.

use crate::sync::Once;
use x86_64::instructions::port::{Port, PortReadOnly};

static KILOHERTZ: Once<u64> = Once::new();

/// Ticks of the programmable interval timer in a second.
const PIT_HERTZ: u64 = 1_193_182;
/// Ticks that one measurement waits for: about 5 ms.
const PIT_TICKS: u64 = PIT_HERTZ / 200;
/// Measurements of a counter, at most.
const MEASUREMENTS: usize = 64;
/// Measurements that have to agree.
const AGREEING: usize = 3;

/// The counter now, in cycles. Earlier instructions are done; later ones may have started.
#[inline]
pub fn now() -> u64 {
    // SAFETY: both instructions exist on every x86-64 CPU and touch nothing.
    unsafe {
        core::arch::x86_64::_mm_lfence();
        core::arch::x86_64::_rdtsc()
    }
}

/// Measures the counter.
pub fn calibrate() {
    KILOHERTZ.call_once(|| (hertz_of(now) / 1000).max(1));
}

/// How fast a counter runs, in counts a second, against the interval timer.
pub(super) fn hertz_of(counter: impl Fn() -> u64) -> u64 {
    let measurements = (0..MEASUREMENTS).map(|_| counts_in_pit_ticks(&counter));
    undisturbed(measurements) * PIT_HERTZ / PIT_TICKS
}

/// The least of some measurements. What disturbs one (an emulator that had to wait for its host) makes it larger,
/// so the least is the best; and when three agree with it to a 256th, there need be no more.
#[must_use]
pub fn undisturbed(measurements: impl Iterator<Item = u64>) -> u64 {
    let (mut least, mut agreeing) = (u64::MAX, 0);
    for counts in measurements {
        if counts.abs_diff(least) <= least / 256 {
            agreeing += 1;
        } else if counts < least {
            agreeing = 1;
        }
        least = least.min(counts);
        if agreeing == AGREEING {
            break;
        }
    }
    least
}

/// How far a counter comes in [`PIT_TICKS`] of channel 2 of the interval timer.
fn counts_in_pit_ticks(counter: impl Fn() -> u64) -> u64 {
    let mut gate = Port::<u8>::new(0x61);
    let mut data = Port::<u8>::new(0x42);
    let mut command = Port::<u8>::new(0x43);
    let mut status = PortReadOnly::<u8>::new(0x61);
    // SAFETY: these are the interval timer's ports on every PC; channel 2 drives only the
    // speaker, which bit 1 of the gate keeps silent.
    let (start, end) = unsafe {
        let idle = gate.read() & 0xfc;
        gate.write(idle);
        command.write(0b1011_0000); // channel 2, both bytes, one-shot
        data.write(PIT_TICKS as u8);
        data.write((PIT_TICKS >> 8) as u8);
        let start = counter();
        gate.write(idle | 1);
        while status.read() & 1 << 5 == 0 {
            core::hint::spin_loop();
        }
        (start, counter())
    };
    end - start
}

/// Spins until `done` or until `microseconds` have passed; whether it was done in time. Needs
/// [`calibrate`].
pub fn spin_until(microseconds: u64, done: impl Fn() -> bool) -> bool {
    let cycles = microseconds * kilohertz() / 1000;
    let start = now();
    while !done() {
        if now() - start >= cycles {
            return done();
        }
        core::hint::spin_loop();
    }
    true
}

/// Thousands of cycles a second; 0 before [`calibrate`].
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
