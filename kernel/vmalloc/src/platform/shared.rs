//! A machine that several instances share, each by a reference to it.

use super::Platform;
use crate::{CpuSet, Event, Flusher, Frame, Overrun, Returned, Scope, Shootdown};
use core::ptr::NonNull;

#[deny(
    clippy::missing_trait_methods,
    reason = "a default in the place of the machine's own breaks its promises"
)]
// SAFETY: the promises are those of the machine, which does all. 5. So there is one shootdown for all instances.
unsafe impl<P: Platform> Platform for &P {
    type Pin = P::Pin;

    #[inline]
    #[track_caller]
    fn pin(&self) -> P::Pin {
        P::pin(self)
    }

    #[inline]
    #[track_caller]
    fn pin_outside_interrupts(&self) -> Option<P::Pin> {
        P::pin_outside_interrupts(self)
    }

    fn root(&self) -> Frame {
        P::root(self)
    }

    fn total_frames(&self) -> usize {
        P::total_frames(self)
    }

    fn free_frames(&self) -> usize {
        P::free_frames(self)
    }

    fn take_frames(&self, count: usize, sink: impl FnMut(Frame)) -> usize {
        P::take_frames(self, count, sink)
    }

    fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>) {
        P::give_frames(self, frames);
    }

    fn take_huge_frame(&self) -> Option<Frame> {
        P::take_huge_frame(self)
    }

    fn give_huge_frame(&self, first: Returned<Frame>) {
        P::give_huge_frame(self, first);
    }

    fn take_table(&self) -> Option<Frame> {
        P::take_table(self)
    }

    fn give_table(&self, frame: Returned<Frame>) {
        P::give_table(self, frame);
    }

    #[inline]
    fn direct_map(&self, frame: Frame) -> NonNull<u8> {
        P::direct_map(self, frame)
    }

    fn is_ram(&self, frame: Frame) -> bool {
        P::is_ram(self, frame)
    }

    fn physical_bits(&self) -> u32 {
        P::physical_bits(self)
    }

    fn page_attribute_table(&self) -> u64 {
        P::page_attribute_table(self)
    }

    #[inline]
    fn frame_of(&self, direct: NonNull<u8>) -> Frame {
        P::frame_of(self, direct)
    }

    #[inline]
    fn shootdown(&self) -> &Shootdown {
        P::shootdown(self)
    }

    fn wake_purger(&self) -> bool {
        P::wake_purger(self)
    }

    fn pause(&self) -> bool {
        P::pause(self)
    }

    fn synchronize(&self) -> bool {
        P::synchronize(self)
    }

    #[inline]
    fn in_interrupt(&self) -> bool {
        P::in_interrupt(self)
    }

    fn trace(&self, event: Event) {
        P::trace(self, event);
    }

    fn now(&self) -> u64 {
        P::now(self)
    }

    fn thread_tag(&self) -> [u8; 16] {
        P::thread_tag(self)
    }

    fn report_overrun(&self, overrun: &Overrun) {
        P::report_overrun(self, overrun);
    }
}

#[deny(clippy::missing_trait_methods, reason = "as above")]
// SAFETY: as above.
unsafe impl<F: Flusher> Flusher for &F {
    #[inline]
    fn here(&self) -> usize {
        F::here(self)
    }

    #[inline]
    fn flush_page(&self, address: usize) {
        F::flush_page(self, address);
    }

    fn flush_all(&self) {
        F::flush_all(self);
    }

    fn interrupt(&self, cpus: CpuSet) {
        F::interrupt(self, cpus);
    }

    fn wait(&self, cpu: usize, done: impl Fn() -> bool) {
        F::wait(self, cpu, done);
    }

    fn uninterrupted(&self, serve: impl FnOnce()) {
        F::uninterrupted(self, serve);
    }

    fn broadcasts(&self) -> bool {
        F::broadcasts(self)
    }

    fn broadcast(&self, scope: Scope<'_>) {
        F::broadcast(self, scope);
    }
}
