//! Who may wait: asked by all that does, before it takes any lock.

use crate::{arch::cpu, threads::scheduler::thread};
use handover::Class;

/// Whether the running code is in a thread that may wait: nothing is pinned, and interrupts are on.
pub fn may_block() -> bool {
    thread::try_current().is_some_and(|this| this.class != Class::Idle)
        && cpu::pins() == 0
        && x86_64::instructions::interrupts::are_enabled()
}

/// Refuses a call that may have to wait, whether or not it would, to who may not: see [`may_block`].
///
/// # Panics
/// In an interrupt handler, with something pinned, with interrupts off, in an idle thread, and before there are
/// threads. The message names `call` and the reason.
#[inline]
#[track_caller]
pub fn assert_may_block(call: &str) {
    if !may_block() {
        refuse_to_block(call);
    }
}

#[cold]
#[track_caller]
fn refuse_to_block(call: &str) -> ! {
    let why = match thread::try_current() {
        None => "before there are threads",
        Some(_) if cpu::in_interrupt() => "in an interrupt handler",
        Some(_) if cpu::pins() > 0 => "with the CPU pinned",
        Some(_) if !x86_64::instructions::interrupts::are_enabled() => "with interrupts off",
        Some(_) => "in an idle thread",
    };
    panic!("{call} {why}: it may have to wait");
}
