//! Frames for experiments and benchmarks.

use super::reclaim;
use crate::memory::frames;
use alloc::{collections::TryReserveError, vec::Vec};
use core::{fmt, ops::Deref};
use vmalloc::Frame;

/// Frames of a command's own. They go back when dropped, by when no CPU has a translation to them any more.
pub struct Frames(Vec<Frame>);

/// There is not as much memory as was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFewFrames {
    /// Frames that were asked for.
    pub wanted: usize,
}

impl Frames {
    /// Takes `count` frames. Called in a thread, which may wait.
    ///
    /// # Errors
    /// There are not as many; those that there were are free again.
    pub fn take(count: usize) -> Result<Self, TooFewFrames> {
        let few = |_: TryReserveError| TooFewFrames { wanted: count };
        let mut list = Vec::new();
        list.try_reserve_exact(count).map_err(few)?;
        let taken = reclaim::take(count, |frame| list.push(frame));
        let frames = Self(list);
        if taken < count { Err(TooFewFrames { wanted: count }) } else { Ok(frames) }
    }
}

impl Deref for Frames {
    type Target = [Frame];

    fn deref(&self) -> &[Frame] {
        &self.0
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // SAFETY: `take` took them, and nobody maps them any more.
        unsafe { frames::give(self.0.drain(..)) };
    }
}

impl fmt::Display for TooFewFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there are not {} free frames", self.wanted)
    }
}

impl core::error::Error for TooFewFrames {}
