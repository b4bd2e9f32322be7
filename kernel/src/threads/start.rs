//! The first steps of a thread, on its own stack.

use super::{
    idle,
    scheduler::{
        schedule, switch,
        thread::{self, ThreadRef},
    },
};
use crate::arch::cpu::{Pin, interrupt_flag};
use core::{ops::Range, sync::atomic::Ordering};
use handover::Class;

/// Makes a thread start on this stack, which is its own, when it is switched to.
pub(super) fn prepare(thread: ThreadRef, stack: &Range<usize>) {
    thread.set_stack(stack);
    // SAFETY: the caller gives the stack away; it comes in whole pages.
    let pointer = unsafe { switch::prepare(stack, enter) };
    thread.stack_pointer.store(pointer, Ordering::Relaxed);
}

/// Where threads start.
extern "C" fn enter() -> ! {
    schedule::finish();
    let this = thread::current();
    if this.class == Class::Idle {
        idle::run();
    }
    interrupt_flag::enable();
    // Makes up for a switch that was asked for meanwhile.
    drop(Pin::new());
    let start = this.start.lock().take();
    if let Some(start) = start {
        start();
    }
    schedule::end();
}
