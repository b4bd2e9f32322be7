//! Telling the machine what an instance does.

use super::Made;
use crate::{Event, Platform, Vmalloc, types::Caller};

impl<P: Platform> Vmalloc<P> {
    /// Begins to tell [`Platform::trace`] what is done, or ends it. What is traced takes the slow paths. Where the caller may
    /// not wait for a [grace period](Platform::synchronize), areas that other CPUs reuse are not told of.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn set_trace(&self, on: bool) {
        self.base().assert_not_in_interrupt("set_trace");
        self.reclaim().bar_magazines(&self.base().tunables.trace, on);
    }

    /// Returns whether [`set_trace`](Self::set_trace) has begun to tell what is done.
    pub fn is_traced(&self) -> bool {
        self.base().is_traced()
    }

    /// Passes on what became of a request for `size` bytes, and tells the machine if the instance is traced.
    pub(super) fn traced(&self, size: usize, caller: Caller, made: Made) -> Made {
        if self.base().is_traced() {
            self.trace_made(size, caller, made);
        }
        made
    }

    /// Tells the machine what became of a request for `size` bytes.
    #[cold]
    pub(super) fn trace_made(&self, size: usize, caller: Caller, made: Made) {
        let event = match made.map(|area| self.find_area(area.as_ptr() as usize)) {
            Ok(Some(area)) => {
                Event::Allocate { address: area.start, pages: area.pages, kind: area.kind, caller }
            }
            // Somebody freed it who was not given it.
            Ok(None) => return,
            Err(error) => Event::AllocateFailed { error, size, caller },
        };
        self.platform().trace(event);
    }
}
