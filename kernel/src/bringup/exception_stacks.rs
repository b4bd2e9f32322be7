//! What a CPU needs to take exceptions on stacks of their own: the stacks, and segments that name them.

use crate::{
    arch::interrupts::segments::{STACKS, Segments},
    memory::{self, Stack},
};
use vmalloc::AllocError;

/// Bytes of each stack.
const BYTES: usize = 16 << 10;

/// One CPU's segments and exception stacks, given back together when dropped.
pub(super) struct ExceptionStacks {
    segments: Segments,
    _stacks: [Stack; STACKS],
}

impl ExceptionStacks {
    /// Makes what one CPU needs, without loading it.
    ///
    /// # Errors
    /// No memory for the stacks.
    pub fn new() -> Result<Self, AllocError> {
        let new = || Stack::new(memory::vmalloc(), BYTES);
        let stacks = [new()?, new()?, new()?];
        let ends = [0, 1, 2].map(|stack: usize| stacks[stack].range().end);
        // SAFETY: the stacks are these segments' alone. `load`, which keeps both for ever, is the only way to use them.
        let segments = unsafe { Segments::new(ends) };
        Ok(Self { segments, _stacks: stacks })
    }

    /// Loads the segments on the CPU this runs on, which must be the only one that ever does.
    pub fn load(&'static self) {
        self.segments.load();
    }
}
