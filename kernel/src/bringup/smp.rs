//! Starting the other CPUs.
//!
//! A CPU that gets a startup interrupt begins in real mode below 1 MiB (Intel SDM 3A, section 9.4).
//! Its first steps are in [`trampoline`](super::trampoline); what it needs then was allocated by the
//! CPU that starts it, so that it cannot fail. Page tables in the three pages behind the trampoline show a CPU that
//! page and the kernel; the kernel's own tables never map anything low.

use super::{exception_stacks::ExceptionStacks, trampoline::Trampoline, tsc_sync::Exchange};
use crate::{
    arch::{
        apic,
        cpu::{self, MAX_CPUS, controls::Controls},
        interrupts::idt,
        tlb, tsc,
    },
    lock_class,
    memory::{self, Stack},
    println,
    sync::{Once, SpinLock},
    threads,
};
use alloc::{boxed::Box, vec::Vec};
use core::{
    fmt,
    ptr::null_mut,
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};
use vmalloc::{AllocError, Frame};

/// Bytes of the stack that a CPU starts and idles on.
const IDLE_STACK: usize = 64 << 10;
/// Microseconds that CPUs are given to reset themselves; Intel SDM 3A, section 9.4.4.1.
const RESET_TIME: u64 = 10_000;
/// Microseconds after which a CPU that does not answer is called a second time.
const SECOND_CALL: u64 = 1_000;
/// Microseconds after which a CPU that does not answer is given up.
const START_LIMIT: u64 = 5_000_000;
/// Microseconds after which a CPU that took its stack, and then does not arrive, is broken.
const ARRIVAL_LIMIT: u64 = 30_000_000;

/// Why a CPU was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// As many run already as the kernel can tell apart.
    TooMany,
    /// Interrupts cannot be sent to this APIC id without an x2APIC.
    Unreachable,
    /// It did not answer in time.
    NoAnswer,
    /// No memory for its stacks.
    OutOfMemory(AllocError),
    /// The memory map has no place below 1 MiB to start it in.
    NoLowMemory,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => write!(f, "at most {MAX_CPUS} CPUs are used"),
            Self::Unreachable => write!(f, "it cannot be reached without an x2APIC"),
            Self::NoAnswer => write!(f, "it did not start in time"),
            Self::OutOfMemory(error) => write!(f, "no memory for its stacks: {error}"),
            Self::NoLowMemory => write!(f, "no memory below 1 MiB is free to start it in"),
        }
    }
}

impl core::error::Error for StartError {}

/// What a starting CPU is given.
struct Start {
    number: usize,
    exceptions: ExceptionStacks,
    stack: Stack,
    arrived: AtomicBool,
    clocks: Exchange,
}

/// For one start at a time; `None` without low memory.
static TRAMPOLINE: SpinLock<Option<Trampoline>> = SpinLock::new(lock_class!("trampoline"), None);
/// The start under way.
static START: AtomicPtr<Start> = AtomicPtr::new(null_mut());

/// CPUs whose time stamp counters are out of step with the boot CPU's, and by how many cycles at most.
static OUT_OF_STEP: AtomicUsize = AtomicUsize::new(0);
static FARTHEST: AtomicU64 = AtomicU64::new(0);

static FIRMWARE_IDS: Once<Vec<u32>> = Once::new();

/// Starts all CPUs that the firmware names, after [`apic::send_init_to_others`]; each that is left out
/// is reported in one line. Called once, by the boot CPU. `low_frames` is the first of
/// [`trampoline::FRAMES`](super::trampoline::FRAMES) contiguous ones, if there are any.
///
/// # Safety
/// The kernel is being booted: see [`start`]. The frames are below 1 MiB, from the second frame on; nobody uses them,
/// and the direct map shows them.
pub(crate) unsafe fn start_all(apic_ids: Vec<u32>, low_frames: Option<Frame>) {
    let boot_id = apic::id();
    cpu::set_online(0, boot_id);
    // SAFETY: promised by the caller.
    *TRAMPOLINE.lock() = low_frames.map(|frames| unsafe { Trampoline::new(frames, enter) });
    // Counted from now, not from when they were told to.
    tsc::spin_until(RESET_TIME, || false);
    let ids = FIRMWARE_IDS.call_once(|| apic_ids);
    let others = || ids.iter().copied().filter(|&id| id != boot_id);
    let mut waiting = others();
    while cpu::online_count() < MAX_CPUS
        && let Some(id) = waiting.next()
    {
        // SAFETY: only the boot sequence calls this.
        if let Err(error) = unsafe { start(id, START_LIMIT) } {
            println!("the CPU with APIC id {id} is left out: {error}");
        }
    }
    let left = waiting.count();
    if left > 0 {
        println!("{left} of {} CPUs are left out: {}", others().count() + 1, StartError::TooMany);
    }
    let (apart, farthest) = (OUT_OF_STEP.load(Ordering::Relaxed), FARTHEST.load(Ordering::Relaxed));
    if apart > 0 {
        let farthest = tsc::microseconds(farthest);
        println!(
            "{apart} CPUs' time stamp counters are out of step, by {farthest} us: so are sleeps and traces"
        );
    }
}

/// The APIC ids that the firmware names, in its order, that of the boot CPU included.
pub fn firmware_ids() -> &'static [u32] {
    FIRMWARE_IDS.get().map_or(&[], Vec::as_slice)
}

/// Starts the CPU with this APIC id, which was reset and not started since, and waits up to `limit`
/// microseconds until it runs; its number. A CPU that fails does not use up a number.
///
/// # Errors
/// See [`StartError`]; what the CPU was to be given is free again, and should it come late it halts.
///
/// # Safety
/// No CPU has this APIC id, or the kernel is still being booted: there are no threads, and nobody flushes
/// translations. Whoever does so is not told of a CPU that comes meanwhile.
pub unsafe fn start(apic_id: u32, limit: u64) -> Result<usize, StartError> {
    // Nothing is allocated under the trampoline's lock, nor given back.
    let start = Box::new(Start {
        number: 0,
        exceptions: ExceptionStacks::new().map_err(StartError::OutOfMemory)?,
        stack: Stack::new(memory::vmalloc(), IDLE_STACK).map_err(StartError::OutOfMemory)?,
        arrived: AtomicBool::new(false),
        clocks: Exchange::new(),
    });
    call(apic_id, limit, start).map_err(|(error, _unused)| error)
}

/// Calls a CPU to take `start`, which comes back if it did not.
fn call(apic_id: u32, limit: u64, mut start: Box<Start>) -> Result<usize, (StartError, Box<Start>)> {
    let mut trampoline = TRAMPOLINE.lock();
    let Some(trampoline) = trampoline.as_mut() else {
        return Err((StartError::NoLowMemory, start));
    };
    let number = cpu::online_count();
    if number == MAX_CPUS {
        return Err((StartError::TooMany, start));
    }
    if apic_id > apic::largest_id() {
        return Err((StartError::Unreachable, start));
    }
    start.number = number;
    let start = Box::into_raw(start);
    START.store(start, Ordering::Release);
    // SAFETY: it was just leaked; it is a box again below only, and used no more then.
    let given = unsafe { &*start };
    let arrived = || given.arrived.load(Ordering::Acquire);
    let page = trampoline.offer(apic_id, given.stack.range().end);
    apic::send_start(apic_id, page);
    if !tsc::spin_until(SECOND_CALL.min(limit), arrived) {
        apic::send_start(apic_id, page);
        if !tsc::spin_until(limit, arrived) && trampoline.withdraw() {
            // SAFETY: it was made by a box, and no CPU knows of it: its stack was not taken.
            return Err((StartError::NoAnswer, unsafe { Box::from_raw(start) }));
        }
    }
    // It has taken its stack, and cannot be given up any more: what is left of its way cannot fail.
    let on_time = tsc::spin_until(ARRIVAL_LIMIT, arrived);
    let seconds = ARRIVAL_LIMIT / 1_000_000;
    assert!(on_time, "the CPU with APIC id {apic_id} took its stack and did not arrive in {seconds} seconds");
    let apart = given.clocks.ask();
    if apart > 0 {
        OUT_OF_STEP.fetch_add(1, Ordering::Relaxed);
        FARTHEST.fetch_max(apart, Ordering::Relaxed);
    }
    cpu::set_online(number, apic_id);
    Ok(number)
}

/// Where the trampoline leads: on the kernel's tables and the CPU's own stack.
extern "C" fn enter() -> ! {
    // SAFETY: this CPU took the stack that was offered, so it is kept for ever; and no other start
    // begins before this CPU has arrived.
    let start: &'static Start = unsafe { &*START.load(Ordering::Acquire) };
    // SAFETY: the boot CPU was found fit for them and has them, with the same page tables. The number was
    // kept for this CPU.
    unsafe {
        Controls::KERNEL.apply();
        cpu::init(start.number);
    }
    cpu::set_stack(&start.stack.range());
    start.exceptions.load();
    idt::load();
    apic::init_cpu();
    // Before it arrives: who starts CPUs frees nothing until then, so no page table goes that this one may walk through.
    tlb::init_cpu();
    start.arrived.store(true, Ordering::Release);
    while !cpu::online().contains(start.number) {
        start.clocks.answer();
        core::hint::spin_loop();
    }
    threads::run_cpu();
}
