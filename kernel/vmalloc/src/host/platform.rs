//! What the library asks of the simulated machine, except flushing.

extern crate std;

use super::{Frame, Machine, Moment, Readers, others::Bar, readers::Reading};
use crate::{BLOCK_PAGES, CpuPin, Event, LockClass, PAGE_SIZE, Platform, Returned, Shootdown};
use core::{fmt, panic::Location, ptr::NonNull, sync::atomic::Ordering};

/// Keeps code on a simulated CPU.
pub struct Pin<'m> {
    cpu: usize,
    machine: &'m Machine,
    _reading: Reading<'m>,
}

impl fmt::Debug for Pin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pin").field("cpu", &self.cpu).finish_non_exhaustive()
    }
}

impl CpuPin for Pin<'_> {
    fn cpu(&self) -> usize {
        self.cpu
    }

    fn acquiring(&self, _: LockClass, _: &'static Location<'static>) {
        core::mem::forget(Bar::new());
    }

    /// Others may have waited for the lock, and act at once.
    fn released(&self, _: LockClass) {
        Bar::lift();
        self.machine.moment();
    }
}

// SAFETY: 1. `free` holds each frame at most once, and gives it out once. 2. `memory` lives as long as
// the machine. 3. `take_table` clears. 4. nobody else writes the tables. 5. `flush` clears all CPUs'
// memory under the lock that every access takes. 6. simulated CPUs only switch by `run_on`, and outside of tests one thread
// runs them all. 7. `Readers` counts pins, and what runs without interrupts. 8. `memory` has all that `is_ram`. 9. Handlers
// say so by `set_interrupt`, and `pin_outside_interrupts` is the default.
unsafe impl<'m> Platform for &'m Machine {
    type Pin = Pin<'m>;

    fn pin(&self) -> Pin<'m> {
        self.moment();
        Pin { cpu: self.current(), machine: self, _reading: self.readers.read() }
    }

    fn root(&self) -> Frame {
        self.root
    }

    fn total_frames(&self) -> usize {
        self.frames
    }

    fn free_frames(&self) -> usize {
        self.happened(Moment::Count);
        if self.moments.hides_frames() { self.frames } else { Machine::free_frames(self) }
    }

    fn take_frames(&self, count: usize, mut sink: impl FnMut(Frame)) -> usize {
        self.moment();
        for taken in 0..count {
            let Some(frame) = self.take() else { return taken };
            // Whoever reads a frame it was not given zeroed finds this.
            // SAFETY: the frame is inside `memory`, and free.
            unsafe { self.bytes(frame).write_bytes(0xa5, PAGE_SIZE) };
            sink(frame);
        }
        count
    }

    fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>) {
        self.moment();
        frames.into_iter().for_each(|frame| self.give(frame.number()..frame.number() + 1));
    }

    fn take_huge_frame(&self) -> Option<Frame> {
        self.moment();
        if !self.may_allocate() {
            return None;
        }
        let mut state = self.state();
        let size = BLOCK_PAGES as u64;
        let first = state.free.iter().copied().find(|&first| {
            first.is_multiple_of(size) && state.free.range(first..first + size).count() == BLOCK_PAGES
        })?;
        (first..first + size).for_each(|frame| assert!(state.free.remove(&frame)));
        Some(Frame::new(first))
    }

    fn give_huge_frame(&self, first: Returned<Frame>) {
        self.moment();
        let first = first.into_inner();
        self.give(first.number()..first.number() + BLOCK_PAGES as u64);
    }

    fn take_table(&self) -> Option<Frame> {
        self.happened(Moment::Table);
        self.moment();
        let frame = self.take()?;
        // SAFETY: the frame is inside `memory`, and was free.
        unsafe { self.bytes(frame).write_bytes(0, PAGE_SIZE) };
        Some(frame)
    }

    fn give_table(&self, frame: Returned<Frame>) {
        self.moment();
        let frame = frame.into_inner();
        self.give(frame.number()..frame.number() + 1);
    }

    fn direct_map(&self, frame: Frame) -> NonNull<u8> {
        self.moment();
        self.bytes(frame)
    }

    fn is_ram(&self, frame: Frame) -> bool {
        (self.first..=self.first + self.frames as u64).contains(&frame.number())
    }

    fn physical_bits(&self) -> u32 {
        40
    }

    fn page_attribute_table(&self) -> u64 {
        self.memory_types.load(Ordering::Relaxed)
    }

    fn frame_of(&self, direct: NonNull<u8>) -> Frame {
        let offset = direct.as_ptr() as usize - self.memory.as_ptr() as usize;
        Frame::new(self.first + (offset / PAGE_SIZE) as u64)
    }

    fn shootdown(&self) -> &Shootdown {
        &self.shootdown
    }

    fn pause(&self) -> bool {
        // Who acts in the middle of another's call does not wait for the other, nor who gives an instance back
        // because a call failed in the middle.
        !self.others_act() && !std::thread::panicking() && !Readers::is_one() && {
            self.relax();
            self.moments.pause()
        }
    }

    fn wake_purger(&self) -> bool {
        self.starved_purger.load(Ordering::Relaxed)
    }

    fn synchronize(&self) -> bool {
        self.readers.synchronize(|| self.relax())
    }

    fn in_interrupt(&self) -> bool {
        self.in_interrupt.load(Ordering::Relaxed)
    }

    fn trace(&self, event: Event) {
        if matches!(event, Event::PurgeEnd { .. }) {
            self.happened(Moment::Purged);
        }
        self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
    }
}
