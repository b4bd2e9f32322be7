//! Stacks from vmalloc: each has a guard page of its own below, where nothing is ever mapped.

use super::machine::vmalloc;
use core::{ops::Range, ptr::NonNull};
use vmalloc::{AllocError, Request};

/// A stack, given back when dropped.
#[derive(Debug)]
pub struct Stack {
    bottom: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it is plain memory that belongs to this value alone, wherever that goes.
unsafe impl Send for Stack {}

impl Stack {
    /// Allocates a stack; `bytes` must be whole pages.
    ///
    /// # Errors
    /// See [`AllocError`].
    #[track_caller]
    pub fn new(bytes: usize) -> Result<Self, AllocError> {
        Ok(Self { bottom: vmalloc().allocate(Self::request(bytes))?, bytes })
    }

    /// What an area is asked to be that is used as a stack.
    pub fn request(bytes: usize) -> Request {
        Request::new(bytes).guard_below()
    }

    /// The addresses it covers; their end is where it starts to grow down from, aligned to a page.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        let bottom = self.bottom.as_ptr() as usize;
        bottom..bottom + self.bytes
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, known to nobody else, and no CPU runs on what is dropped.
        let freed = unsafe { vmalloc().vfree(self.bottom) };
        if let Err(error) = freed {
            panic!("a stack could not be given back: {error}");
        }
    }
}
