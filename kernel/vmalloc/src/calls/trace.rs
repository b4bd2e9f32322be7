//! Telling the machine what an instance does.

use super::Made;
use crate::{
    Event, Kind, PAGE_SIZE, Platform, Vmalloc,
    types::{Caller, tunables::Mode},
};

/// What a call asks for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// In bytes.
    pub size: usize,
    /// In bytes.
    pub align: usize,
    pub kind: Kind,
    pub caller: Caller,
}

impl Asked {
    /// A mapping of so many pages.
    pub fn pages(pages: usize, kind: Kind, caller: Caller) -> Self {
        Self { size: pages.saturating_mul(PAGE_SIZE), align: PAGE_SIZE, kind, caller }
    }
}

impl<P: Platform> Vmalloc<P> {
    /// Turns tracing on or off: [`Platform::trace`] is told of all that is done, and calls take the slow paths. If the
    /// caller may not wait for a [grace period](Platform::synchronize), areas that other CPUs reuse are not reported.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn set_trace(&self, on: bool) {
        self.base().assert_not_in_interrupt("set_trace");
        self.reclaim().bar_magazines(Mode::Trace, on);
    }

    /// Turns on or off the tracing of purges and flushes alone: [`Platform::trace`] is told of them and of
    /// who asked for them. This slows down no other call, and does not change what is done.
    pub fn set_trace_purges(&self, on: bool) {
        self.base().tunables.modes.set(Mode::TracePurges, on);
    }

    /// Returns whether [`set_trace`](Self::set_trace) is on.
    pub fn is_traced(&self) -> bool {
        self.base().is_traced()
    }

    /// Passes on what became of a request, and does what the modes of the instance ask for: tells the
    /// machine, or fills the slack of the area.
    #[inline(always)]
    pub(super) fn watched(&self, asked: impl FnOnce() -> Asked, made: Made) -> Made {
        if self.base().is_watched() {
            self.watch_made(asked(), made);
        }
        made
    }

    #[cold]
    fn watch_made(&self, asked: Asked, made: Made) {
        if let Ok(area) = made {
            self.fill_slack(area.as_ptr() as usize);
        }
        if self.base().is_traced() {
            self.trace_made(asked, made);
        }
    }

    /// Tells the machine what became of a request.
    #[cold]
    pub(super) fn trace_made(&self, asked: Asked, made: Made) {
        let Asked { size, align, kind, caller } = asked;
        let event = match made.map(|area| self.find_area(area.as_ptr() as usize)) {
            Ok(Some(area)) => Event::Allocate {
                address: area.start,
                pages: area.pages,
                size,
                align,
                kind: area.kind,
                caller,
            },
            // Somebody freed it who was not given it.
            Ok(None) => return,
            Err(error) => Event::AllocateFailed { error, size, align, kind, caller },
        };
        self.platform().trace(event);
    }
}
