//! Turning this CPU's interrupts off and on again, where `sections` measures how long they are off.

use super::sections::{self, Kind};
use core::panic::Location;
use x86_64::instructions::interrupts;

/// Keeps interrupts off; dropped, they are as they were before. Those made later go first.
#[must_use]
pub struct InterruptsOff {
    were_on: bool,
}

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
        Self { were_on }
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
pub fn disable() {
    core::mem::forget(InterruptsOff::new());
}

/// Turns interrupts on, whoever turned them off.
#[inline]
pub fn enable() {
    sections::end(Kind::Interrupts, sections::here());
    interrupts::enable();
}

/// Turns interrupts on and stops the CPU until the next, which cannot come in between.
#[inline]
pub fn enable_and_halt() {
    sections::end(Kind::Interrupts, sections::here());
    interrupts::enable_and_hlt();
}
