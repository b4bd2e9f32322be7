//! Stopping all other CPUs for good, when the kernel panics or ends the machine. Called with interrupts off; no lock is
//! taken.

use crate::arch::{apic, cpu, tsc};
use core::{
    arch::asm,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
use vmalloc::CpuSet;

/// No CPU's number.
const NOBODY: usize = usize::MAX;
/// The CPU that ends the run.
static ENDING: AtomicUsize = AtomicUsize::new(NOBODY);
/// CPUs that stopped for it, a bit each: one may be told twice.
static STOPPED: AtomicU64 = AtomicU64::new(0);
/// Where each of them was, and its stack, written before its bit is set; and where an exception interrupted the CPU that
/// panics for it.
static PLACES: [[AtomicU64; 2]; cpu::MAX_CPUS] = [const { [const { AtomicU64::new(0) }; 2] }; cpu::MAX_CPUS];
static STOPPING: AtomicBool = AtomicBool::new(false);
/// CPUs that stop later, a bit each: when what they do is done.
static BUSY: AtomicU64 = AtomicU64::new(0);
/// Microseconds that the others are given to stop.
const STOP_LIMIT: u64 = 100_000;

/// Where a CPU has stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopped {
    /// The address of its next instruction.
    pub at: u64,
    /// The end of its stack.
    pub stack: u64,
}

impl Stopped {
    /// Where this CPU is now.
    #[inline(always)]
    pub(crate) fn here() -> Self {
        let (at, stack);
        // SAFETY: reads two registers, and nothing else.
        unsafe {
            asm!("lea {}, [rip]", "mov {}, rsp", out(reg) at, out(reg) stack,
                options(nomem, nostack, preserves_flags));
        }
        Self { at, stack }
    }
}

/// Makes this CPU the one that ends the run, by a panic or otherwise. If another is that already, stops this one: of two,
/// neither would come to its last word. Called with interrupts off.
pub(crate) fn be_the_last() {
    let this = cpu::current();
    match ENDING.compare_exchange(NOBODY, this, Ordering::Relaxed, Ordering::Relaxed) {
        Err(first) if first != this => stop_this(Stopped::here()),
        _ => {}
    }
}

/// Stops all other CPUs for good, by NMIs, and waits until they have, but not for long. Called by the CPU that is
/// [the last](be_the_last).
pub(crate) fn stop_others() {
    STOPPING.store(true, Ordering::Release);
    let others = cpu::online().without(CpuSet::from_bits(1 << cpu::current()));
    others.iter().for_each(apic::send_nmi);
    tsc::spin_until(STOP_LIMIT, || others.bits() & !STOPPED.load(Ordering::Acquire) == 0);
}

/// Does something that nobody could go on with if it were left half done, such as handing a device a page. If all other CPUs
/// are to be stopped meanwhile, this one is when it is done. Called with interrupts off; for less than [`stop_others`] waits.
pub(crate) fn when_done<T>(doing: impl FnOnce() -> T) -> T {
    let this = 1 << cpu::current();
    let is_outermost = BUSY.fetch_or(this, Ordering::Acquire) & this == 0;
    let result = doing();
    if is_outermost {
        BUSY.fetch_and(!this, Ordering::Release);
        if is_stopping() && ENDING.load(Ordering::Relaxed) != cpu::current() {
            stop_this(Stopped::here());
        }
    }
    result
}

/// Whether this CPU, which was told to stop, does so by itself, when what it does [is done](when_done).
pub(super) fn is_for_later() -> bool {
    BUSY.load(Ordering::Relaxed) & 1 << cpu::current() != 0
}

/// Where the CPUs were that have stopped.
pub(crate) fn stopped() -> impl Iterator<Item = (usize, Stopped)> {
    CpuSet::from_bits(STOPPED.load(Ordering::Acquire)).iter().map(|cpu| {
        let [at, stack] = PLACES[cpu].each_ref().map(|value| value.load(Ordering::Relaxed));
        (cpu, Stopped { at, stack })
    })
}

/// Whether a CPU stops all others.
pub(crate) fn is_stopping() -> bool {
    STOPPING.load(Ordering::Acquire)
}

/// Notes where an exception interrupted this CPU, which panics next.
pub(super) fn note(Stopped { at, stack }: Stopped) {
    let place = &PLACES[cpu::current()];
    place[0].store(at, Ordering::Relaxed);
    place[1].store(stack, Ordering::Relaxed);
}

/// Where this CPU was when the exception came for which it panics, if one did.
pub(crate) fn noted() -> Option<Stopped> {
    let [at, stack] = PLACES[cpu::current()].each_ref().map(|value| value.load(Ordering::Relaxed));
    (at != 0).then_some(Stopped { at, stack })
}

/// Stops this CPU for good, for one that calls [`stop_others`]. It was where `place` says.
pub(crate) fn stop_this(place: Stopped) -> ! {
    note(place);
    STOPPED.fetch_or(1 << cpu::current(), Ordering::Release);
    cpu::halt();
}
