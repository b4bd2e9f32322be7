//! What every room of an instance may use: the machine, the span of addresses, the tunables, the policy.
//!
//! It is the lowest of the layers that make up an instance; see [`Vmalloc`](crate::Vmalloc). It takes no lock.

use crate::{
    CpuPin, Event, Frame, PAGE_SIZE, Platform, Policy, Tunables, Zeroing,
    percpu::Records,
    remembered::Remembered,
    span::Span,
    types::{
        area::birth::{Birth, Clock},
        frame::PHYSICAL_BITS,
        tunables::Mode,
    },
};
use core::sync::atomic::Ordering;

pub(crate) struct Base<P> {
    pub platform: P,
    pub span: Span,
    pub tunables: Tunables,
    pub policy: Policy,
    /// What there is for each CPU.
    pub records: Records,
    pub remembered: Remembered,
    clock: Clock,
    /// First physical address that the CPUs do not have.
    physical_end: u64,
}

impl<P: Platform> Base<P> {
    #[inline(always)]
    pub fn new(platform: P, span: Span, policy: Policy, records: Records) -> Self {
        let physical_end = 1 << platform.physical_bits().min(PHYSICAL_BITS);
        let tunables = Tunables::new(policy, platform.total_frames());
        let remembered = Remembered::new();
        let clock = Clock::new();
        Self { platform, span, tunables, policy, records, remembered, clock, physical_end }
    }

    /// Returns the birth of areas that are made now.
    #[inline(always)]
    pub fn now(&self) -> Birth {
        self.clock.now()
    }

    /// Has areas that are made from now on be as old as that.
    pub fn set_clock(&self, milliseconds: u64) {
        self.clock.set(milliseconds);
    }

    /// Returns whether the CPUs can address all physical memory below `end`.
    #[inline]
    pub fn is_addressable(&self, end: u64) -> bool {
        end <= self.physical_end
    }

    /// Returns whether the CPUs can address what is at a physical address.
    #[inline]
    pub fn has_address(&self, address: u64) -> bool {
        address < self.physical_end
    }

    /// Returns up to how many pages a flush goes page by page.
    pub fn flush_ceiling(&self) -> usize {
        self.tunables.single_page_flush_ceiling.load(Ordering::Relaxed)
    }

    /// Returns whether events are told to the machine.
    #[inline]
    pub fn is_traced(&self) -> bool {
        self.tunables.modes.has(Mode::Trace)
    }

    /// Returns whether each call is looked at, to be traced, remembered or checked.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.tunables.modes.are_watching()
    }

    /// Tells the machine of a purge or a flush, which `event` makes, if the instance is traced, or those are. What is costly to
    /// look up is looked up inside of `event`.
    #[inline(always)]
    pub fn trace_purging(&self, event: impl FnOnce() -> Event) {
        if self.tunables.modes.trace_purges() {
            self.tell(event());
        }
    }

    #[cold]
    #[inline(never)]
    fn tell(&self, event: Event) {
        self.platform.trace(event);
    }

    /// Fills a frame with zeros, which was taken and is not mapped yet.
    pub fn zero(&self, frame: Frame) {
        // SAFETY: the frame was taken and not mapped yet, so it is the caller's alone (promises 1 and 2 of
        // `Platform`).
        unsafe { self.platform.direct_map(frame).cast::<[u64; PAGE_SIZE / 8]>().write([0; PAGE_SIZE / 8]) };
    }

    /// In debug builds, asserts what each call relies on: the machine names the current CPU by one number, and the CPU is
    /// online. Public calls that allocate or free begin with it, or with one of the two below, but for the fast path of `vrealloc`.
    // The models have machines that are right.
    #[inline(always)]
    #[track_caller]
    pub fn debug_assert_cpu(&self) {
        if cfg!(all(debug_assertions, not(loom))) {
            self.assert_cpu();
        }
    }

    #[track_caller]
    fn assert_cpu(&self) {
        let pin = self.platform.pin();
        let (cpu, here) = (pin.cpu(), self.platform.here());
        assert_eq!(cpu, here, "pin().cpu() and here() differ (promise 6 of Platform, 1 of Flusher)");
        let is_online = self.platform.shootdown().online().contains(cpu);
        assert!(is_online, "CPU {cpu} uses an instance before Shootdown::set_online (promise 5 of Platform)");
    }

    /// Returns whether a page that was mapped full of zeros, and that no CPU has marked dirty, is taken to be so still.
    pub fn trusts_dirty(&self) -> bool {
        self.policy.zeroing == Zeroing::TrustDirty
    }

    /// Refuses a call with this error in an interrupt handler.
    #[track_caller]
    pub fn refuse_in_interrupt<E>(&self, error: E) -> Result<(), E> {
        self.debug_assert_cpu();
        if self.platform.in_interrupt() { Err(error) } else { Ok(()) }
    }

    /// Panics in an interrupt handler, for a call that has no error to be refused with.
    #[track_caller]
    pub fn assert_not_in_interrupt(&self, call: &str) {
        self.debug_assert_cpu();
        assert!(!self.platform.in_interrupt(), "{call} was called in an interrupt handler");
    }
}
