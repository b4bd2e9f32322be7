//! Telling the machine what an instance does.

use super::Made;
use crate::{
    Event, Platform, Vmalloc,
    types::{Caller, tunables::Mode},
};

impl<P: Platform> Vmalloc<P> {
    /// Begins to tell [`Platform::trace`] what is done, or ends it. What is traced takes the slow paths. Where the caller may
    /// not wait for a [grace period](Platform::synchronize), areas that other CPUs reuse are not told of.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn set_trace(&self, on: bool) {
        self.base().assert_not_in_interrupt("set_trace");
        self.reclaim().bar_magazines(Mode::Trace, on);
    }

    /// Returns whether [`set_trace`](Self::set_trace) has begun to tell what is done.
    pub fn is_traced(&self) -> bool {
        self.base().is_traced()
    }

    /// Passes on what became of a request for `size` bytes, and does what the modes of the instance ask for: tells the
    /// machine, or fills the slack of the area.
    pub(super) fn watched(&self, size: usize, caller: Caller, made: Made) -> Made {
        if self.base().is_watched() {
            self.watch_made(size, caller, made);
        }
        made
    }

    #[cold]
    fn watch_made(&self, size: usize, caller: Caller, made: Made) {
        if let Ok(area) = made {
            self.fill_slack(area.as_ptr() as usize);
        }
        if self.base().is_traced() {
            self.trace_made(size, caller, made);
        }
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
