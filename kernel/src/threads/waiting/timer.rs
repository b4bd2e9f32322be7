//! What each CPU's timer is set to: the next tick, or the first sleeper's time, or the next sample of a profile, if that
//! comes earlier.

use super::{profile, sleep};
use crate::arch::{apic, cpu, cpu::MAX_CPUS, tsc};
use core::sync::atomic::{AtomicU64, Ordering};

/// Ticks of each CPU in a second. A tick costs some hundred instructions: this many are hardly seen in
/// measurements, even where, under `-icount`, a second is a few million instructions.
pub const HERTZ: u32 = 250;

/// When a CPU's next tick is due. Used by that CPU only.
#[repr(align(64))]
struct NextTick(AtomicU64);

static NEXT: [NextTick; MAX_CPUS] = [const { NextTick(AtomicU64::new(0)) }; MAX_CPUS];

/// Cycles of a tick.
fn period() -> u64 {
    const MILLISECONDS: u64 = 1000 / HERTZ as u64;
    const { assert!(MILLISECONDS * HERTZ as u64 == 1000) };
    (tsc::kilohertz() * MILLISECONDS).max(1)
}

/// Starts the ticks of the CPU this runs on.
pub(in crate::threads) fn start() {
    let tick = tsc::now() + period();
    NEXT[cpu::current()].0.store(tick, Ordering::Relaxed);
    apic::start_timer();
    apic::set_timer(tick);
}

/// Called on each interrupt of the timer: whether a tick is due, which it then no more is. Of a tick that
/// is late only the next one comes early; those that were missed do not come.
pub(in crate::threads) fn take_tick(cpu: usize, now: u64) -> bool {
    let next = &NEXT[cpu].0;
    let (tick, period) = (next.load(Ordering::Relaxed), period());
    // The timer's clock may be a little fast: one interrupt for each tick is enough.
    if now + period / 64 < tick {
        return false;
    }
    let following = tick + period;
    next.store(if following > now { following } else { now + period }, Ordering::Relaxed);
    true
}

/// Sets the timer to what comes first. Called on the CPU with interrupts off.
pub(in crate::threads) fn set(cpu: usize) {
    let tick = NEXT[cpu].0.load(Ordering::Relaxed);
    apic::set_timer(sleep::first(cpu).min(tick).min(profile::next(cpu)));
}
