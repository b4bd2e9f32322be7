//! Turning this CPU's interrupts off and on again, where `sections` measures how long they are off.

use super::sections::{self, Kind};
use crate::assert_stays;
use core::{arch::asm, marker::PhantomData, panic::Location};
use x86_64::instructions::interrupts;

/// Keeps interrupts off; dropped, they are as they were before. It stays with the code that made it: the flag is the
/// CPU's. Those made later go first.
///
/// # Panics
/// When dropped, if interrupts are on: one that was made earlier went first, or somebody turned them on.
#[must_use]
pub struct InterruptsOff {
    were_on: bool,
    stays: PhantomData<*mut ()>,
}

assert_stays!(InterruptsOff);

impl InterruptsOff {
    /// Turns interrupts off.
    #[inline]
    #[track_caller]
    pub fn new() -> Self {
        let were_on = interrupts::are_enabled();
        if were_on {
            interrupts::disable();
            sections::begin(Kind::Interrupts, Location::caller());
        }
        Self { were_on, stays: PhantomData }
    }
}

impl Default for InterruptsOff {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for InterruptsOff {
    #[inline]
    fn drop(&mut self) {
        assert!(!interrupts::are_enabled(), "interrupts were turned on while they had to stay off");
        if self.were_on {
            enable();
        }
    }
}

/// Calls `function` with interrupts off.
#[inline]
#[track_caller]
pub fn without_interrupts<R>(function: impl FnOnce() -> R) -> R {
    let _off = InterruptsOff::new();
    function()
}

/// Turns interrupts off until somebody turns them on: another thread, perhaps, that is switched to.
#[inline]
#[track_caller]
pub(crate) fn disable() {
    core::mem::forget(InterruptsOff::new());
}

/// Turns interrupts on, whoever turned them off.
#[inline]
pub(crate) fn enable() {
    sections::end(Kind::Interrupts, sections::here());
    interrupts::enable();
}

/// Turns interrupts on and stops the CPU until the next, which cannot come in between.
#[inline]
pub(crate) fn enable_and_halt() {
    sections::end(Kind::Interrupts, sections::here());
    // SAFETY: nothing changes but by handlers, which save the registers that they use, and which the caller lets in. The options
    // do not say that memory is left alone: so what was written before is written when the CPU stops.
    unsafe { asm!("sti", "hlt", options(nostack)) };
}
