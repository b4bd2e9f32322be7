//! Calls of functions on other CPUs, by interrupts. Called in threads with interrupts on, pinned or not.

use crate::arch::{
    apic::{self, Vector},
    cpu::{self, Pin, interrupt_flag},
    tsc,
};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use spin::mutex::SpinMutex;

/// One call is under way at a time. Whoever holds the lock is pinned, has interrupts on and takes no other lock, so it
/// needs no place in the order of the kernel's locks, which are above this room.
static CALLER: SpinMutex<()> = SpinMutex::new(());
/// A `fn()`; null when it was called.
static CALLED: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// The CPU that is to call it. Others may be sent the interrupt by mistake.
static CALLEE: AtomicUsize = AtomicUsize::new(0);
/// Microseconds after which a CPU that does not answer is broken; as for flushes.
const CALL_LIMIT: u64 = 30_000_000;

/// Calls `function` on a CPU that is online, in an interrupt, and waits until it returned.
/// Interrupts are on: two CPUs may call each other.
///
/// # Panics
/// Interrupts are off, the CPU is not online, or it does not answer for half a minute.
pub fn call_on(cpu: usize, function: fn()) {
    assert!(x86_64::instructions::interrupts::are_enabled(), "this CPU could not answer others meanwhile");
    assert!(cpu::online().contains(cpu), "CPU {cpu} is not online: it would never answer");
    let _pin = Pin::new();
    if cpu == cpu::current() {
        return interrupt_flag::without_interrupts(function);
    }
    let _caller = CALLER.lock();
    CALLEE.store(cpu, Ordering::Relaxed);
    CALLED.store(function as *mut (), Ordering::Release);
    apic::send(cpu, Vector::Call);
    let answered = tsc::spin_until(CALL_LIMIT, || CALLED.load(Ordering::Acquire).is_null());
    assert!(answered, "CPU {cpu} has not answered a call for {} seconds", CALL_LIMIT / 1_000_000);
}

/// Calls `function` on all CPUs that are online, as [`call_on`] does; on this one last, so that the other calls belong to
/// what it sees.
///
/// # Panics
/// As [`call_on`].
pub fn call_on_all(function: fn()) {
    let this = cpu::current();
    let others = cpu::online().iter().filter(|&cpu| cpu != this);
    others.chain([this]).for_each(|cpu| call_on(cpu, function));
}

/// Calls what another CPU wants called here, if it is this CPU that it means. Called in the interrupt's handler.
pub(super) fn answer() {
    let function = CALLED.load(Ordering::Acquire);
    if !function.is_null() && CALLEE.load(Ordering::Relaxed) == cpu::current() {
        // SAFETY: only `call_on` stores anything else than null here, and that is a `fn()`.
        let function = unsafe { core::mem::transmute::<*mut (), fn()>(function) };
        function();
        CALLED.store(core::ptr::null_mut(), Ordering::Release);
    }
}
