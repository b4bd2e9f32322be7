//! What every room of an instance may ask: the machine, the span, what is tuned, the policy.
//!
//! It is the lowest of the layers that make up an instance; see [`Vmalloc`](crate::Vmalloc). It takes no lock.

use crate::{
    AllocError, Event, Frame, PAGE_SIZE, Platform, Policy, Tunables, span::Span, types::frame::PHYSICAL_BITS,
};
use core::sync::atomic::Ordering;

pub(crate) struct Base<P> {
    pub platform: P,
    pub span: Span,
    pub tunables: Tunables,
    pub policy: Policy,
    /// Behind the last physical address that the CPUs have.
    physical_end: u64,
}

impl<P: Platform> Base<P> {
    pub fn new(platform: P, span: Span, policy: Policy) -> Self {
        let physical_end = 1 << platform.physical_bits().min(PHYSICAL_BITS);
        Self { platform, span, tunables: Tunables::new(), policy, physical_end }
    }

    /// Whether the CPUs can address the physical memory up to `end`.
    #[inline]
    pub fn is_addressable(&self, end: u64) -> bool {
        end <= self.physical_end
    }

    /// Up to this many pages are flushed one by one.
    pub fn flush_ceiling(&self) -> usize {
        self.tunables.single_page_flush_ceiling.load(Ordering::Relaxed)
    }

    /// Whether events go to the machine.
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.tunables.trace.load(Ordering::Relaxed)
    }

    /// Tells the machine what `event` says, if the instance is traced. What is cheap to say need not be asked for before.
    #[inline(always)]
    pub fn trace(&self, event: impl FnOnce() -> Event) {
        if self.is_traced() {
            self.tell(event());
        }
    }

    #[cold]
    #[inline(never)]
    fn tell(&self, event: Event) {
        self.platform.trace(event);
    }

    /// Tells that `pages` pages from page `first` of a block go. Called before anybody else can have them.
    #[inline(always)]
    pub fn trace_free(&self, block: usize, first: usize, pages: usize) {
        self.trace(|| Event::Free { address: self.span.address(block, first), pages });
    }

    /// Fills a frame with zeros that was taken, and is not mapped yet.
    pub fn zero(&self, frame: Frame) {
        // SAFETY: the frame was taken and not mapped yet, so it is the caller's alone (promises 1 and 2 of
        // `Platform`).
        unsafe { self.platform.direct_map(frame).cast::<[u64; PAGE_SIZE / 8]>().write([0; PAGE_SIZE / 8]) };
    }

    pub fn refuse_in_interrupt(&self) -> Result<(), AllocError> {
        if self.platform.in_interrupt() { Err(AllocError::InInterrupt) } else { Ok(()) }
    }

    /// Asserts that no interrupt handler makes a call that has no error to refuse it with.
    #[track_caller]
    pub fn assert_not_in_interrupt(&self, call: &str) {
        assert!(!self.platform.in_interrupt(), "{call} was called in an interrupt handler");
    }
}
