//! Who runs next, and the way from one thread to another.
//!
//! A thread that stops to run becomes visible to other CPUs only when its registers are saved: the
//! thread that runs next puts it where it belongs ([`finish`]), as the first thing it does. So nobody
//! ever waits for a thread to leave its stack.
//!
//! Everything here runs with interrupts off and nothing pinned. Each thread finds its own interrupt
//! flag again on its own stack.

use super::{
    ended, passes, run_queue, switch,
    thread::{self, Thread, ThreadRef},
};
use crate::{
    arch::cpu::{self, MAX_CPUS, interrupt_flag},
    sync::order,
};
use core::{
    ptr::null_mut,
    sync::atomic::{AtomicPtr, AtomicU8, Ordering},
};
use handover::{Class, End};
use x86_64::instructions::interrupts;

/// Ticks of a time slice: 12 ms.
pub(in crate::threads) const SLICE: u32 = 3;

/// Why a thread stops to run.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Leave {
    /// It could go on.
    Ready = 0,
    /// It waits to be woken.
    Blocked = 1,
    /// It never goes on.
    Ended = 2,
}

/// The thread that a CPU just left, and why; for [`finish`] on the same CPU.
struct Leaving {
    thread: AtomicPtr<Thread>,
    why: AtomicU8,
}

static LEAVING: [Leaving; MAX_CPUS] =
    [const { Leaving { thread: AtomicPtr::new(null_mut()), why: AtomicU8::new(0) } }; MAX_CPUS];

/// Switches to another thread if one goes first and nothing forbids it. Called with nothing pinned: when the last pin
/// goes, and at the end of an interrupt (see [the hook](crate::arch::hooks::ArchHooks::preempt)).
#[cold]
pub(crate) fn preempt() {
    interrupt_flag::without_interrupts(|| {
        if cpu::take_switch() && thread::try_current().is_some() {
            schedule(Leave::Ready);
        }
    });
}

/// Gives the rest of the time slice to others of the same class, if there are any.
pub(in crate::threads) fn yield_now() {
    interrupt_flag::without_interrupts(|| {
        thread::current().slice.store(0, Ordering::Relaxed);
        schedule(Leave::Ready);
    });
}

/// Waits until somebody wakes this thread; returns at once if that was done since the last call. May
/// return for no reason: callers look again at what they wait for.
pub(in crate::threads) fn block() {
    assert!(interrupts::are_enabled(), "a thread that has interrupts off cannot wait");
    interrupt_flag::without_interrupts(|| {
        let this = thread::current();
        if !this.state.take_wake() {
            schedule(Leave::Blocked);
            this.state.go_on();
        }
    });
}

/// Ends the running thread.
pub(in crate::threads) fn end() -> ! {
    interrupt_flag::disable();
    schedule(Leave::Ended);
    unreachable!("the thread has ended");
}

/// What the idle thread does first: runs what there is to run. Returns, with interrupts off, when there
/// is nothing.
pub(in crate::threads) fn run_others() {
    interrupt_flag::disable();
    schedule(Leave::Ready);
}

fn schedule(why: Leave) {
    assert_eq!(cpu::pins(), 0, "a thread that is pinned cannot wait");
    debug_assert_eq!(order::held(), 0, "a thread that holds a lock cannot wait");
    let mut why = why;
    loop {
        cpu::take_switch();
        let number = cpu::current();
        passes::of(number).pass();
        let this = thread::current();
        if let Some(next) = choose(number, this, why) {
            go_to(number, this, next, why);
            finish();
        }
        if !cpu::take_switch() {
            return;
        }
        why = Leave::Ready;
    }
}

/// Who runs next; `None` if `this` goes on.
fn choose(number: usize, this: ThreadRef, why: Leave) -> Option<ThreadRef> {
    let queue = run_queue::of(number);
    let idle = this.class == Class::Idle;
    if why == Leave::Ready && !idle {
        let over = this.slice.load(Ordering::Relaxed) == 0;
        let least = match (this.class, over) {
            (Class::Normal, true) => Class::Normal,
            (Class::RealTime, false) => return None,
            _ => Class::RealTime,
        };
        let next = queue.take(least);
        if next.is_none() && over {
            this.slice.store(SLICE, Ordering::Relaxed);
        }
        return next;
    }
    let next = queue.take_or_idle().or_else(|| {
        let stolen = steal(number)?;
        // Who puts a thread in line here meanwhile takes the CPU for idle, and tells it once too often.
        queue.set_running(stolen.class);
        Some(stolen)
    });
    next.or_else(|| (!idle).then(|| thread::idle(number)))
}

/// A thread from another CPU's line.
fn steal(number: usize) -> Option<ThreadRef> {
    if cpu::is_isolated(number) {
        return None;
    }
    let others = cpu::online().iter();
    let (below, above) = (others, cpu::online().iter());
    // Starting with the next CPU, so that not all fall upon the same one.
    above
        .filter(|&other| other > number)
        .chain(below.filter(|&other| other < number))
        .find_map(|other| run_queue::of(other).steal())
}

fn go_to(number: usize, this: ThreadRef, next: ThreadRef, why: Leave) {
    let leaving = &LEAVING[number];
    leaving.thread.store(this.pointer(), Ordering::Relaxed);
    leaving.why.store(why as u8, Ordering::Relaxed);
    next.cpu.store(number, Ordering::Relaxed);
    cpu::set_thread(next.pointer() as usize);
    cpu::set_stack(&next.stack());
    // SAFETY: interrupts are off. Whoever is taken out of a line has its registers saved (`finish` put
    // it there afterwards, or `prepare` made them), and is in no line any more.
    unsafe { switch::switch(&this.stack_pointer, next.stack_pointer.load(Ordering::Relaxed)) };
}

/// Puts the thread that this CPU just left where it belongs. The first thing done on a stack that was
/// switched to. Afterwards that thread may run elsewhere, or be gone.
pub(in crate::threads) fn finish() {
    let number = cpu::current();
    let leaving = &LEAVING[number];
    let Some(left) = ThreadRef::from_pointer(leaving.thread.load(Ordering::Relaxed)) else { return };
    match leaving.why.load(Ordering::Relaxed) {
        _ if left.class == Class::Idle => {}
        why if why == Leave::Ready as u8 => requeue(number, left),
        why if why == Leave::Blocked as u8 => {
            if !left.state.block() {
                requeue(number, left);
            }
        }
        _ => ended::bury(left),
    }
}

fn requeue(number: usize, thread: ThreadRef) {
    let over = thread.slice.load(Ordering::Relaxed) == 0;
    if over {
        thread.slice.store(SLICE, Ordering::Relaxed);
    }
    run_queue::put(number, thread, if over { End::Back } else { End::Front });
}
