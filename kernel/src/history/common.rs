//! What experiments have in common.

use crate::{
    arch::{
        cpu::{
            self,
            sections::{self, Kind, Section},
        },
        interrupts,
    },
    command::CommandError,
};
use alloc::format;
use core::sync::atomic::Ordering;

/// Runs `body` with sections measured: what it gives, and the longest section of any CPU with preemption off.
pub(super) fn metered<T>(body: impl FnOnce() -> T) -> (T, Option<Section>) {
    let before = sections::switch().swap(1, Ordering::Relaxed);
    interrupts::call_on_all(sections::reset);
    let result = body();
    let all = cpu::online().iter().filter_map(|cpu| sections::longest(Kind::Preemption, cpu));
    let longest = all.max_by_key(|section| section.cycles);
    sections::switch().store(before, Ordering::Relaxed);
    (result, longest)
}

/// An experiment that could not be made.
pub(super) fn failed(error: impl core::fmt::Display) -> CommandError {
    CommandError::new(format!("{error}"))
}
