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
    memory::frames,
    services::reclaim,
};
use alloc::{format, vec::Vec};
use core::sync::atomic::Ordering;
use vmalloc::Frame;

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

/// Frames of the experiment's own; they go back when dropped, by when nobody maps them any more.
pub(super) struct Frames(pub(super) Vec<Frame>);

impl Frames {
    pub(super) fn take(count: usize) -> Result<Self, CommandError> {
        let mut list = Vec::new();
        list.try_reserve_exact(count).map_err(failed)?;
        let taken = reclaim::take(count, |frame| list.push(frame));
        let frames = Self(list);
        if taken < count { Err(CommandError::new("out of frames")) } else { Ok(frames) }
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // SAFETY: `take` took them, and nobody maps them any more.
        unsafe { frames::give(self.0.drain(..)) };
    }
}
