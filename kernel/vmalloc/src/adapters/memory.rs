//! Memory of a machine: where it is seen, which of it is RAM, and where frames come from.

use crate::{Frame, PAGE_SIZE};
use core::{ops::Range, ptr::NonNull};

/// Ranges of RAM that are known apart.
const RANGES: usize = 64;

/// Physical memory as the kernel sees it: at which offset, and which addresses are RAM.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Virtual address of physical address 0.
    offset: usize,
    /// Numbers of frames, first and end; those not used are empty.
    pub(super) ram: [(u64, u64); RANGES],
    frames: usize,
}

impl Memory {
    /// Describes memory that the kernel sees at virtual address `offset` plus its physical address. `usable`
    /// has the physical addresses of RAM, in bytes, in any order: all that frames are taken from, and
    /// preferably the rest, such as the kernel's image. Frames that lie only partly in them do not count.
    ///
    /// RAM that `usable` leaves out is taken for registers of a device: [`vread`](crate::Vmalloc::vread) does
    /// not read it unless the instance allocated it, and [`ioremap`](crate::Vmalloc::ioremap) does not refuse
    /// to map it with another memory type. Of the ranges that do not touch, only the 64 longest are known. At
    /// offset 0, frame 0 does not count: nothing can point there.
    #[must_use]
    pub fn new(offset: u64, usable: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut memory = Self { offset: offset as usize, ram: [(0, 0); RANGES], frames: 0 };
        let (page, lowest) = (PAGE_SIZE as u64, u64::from(offset == 0));
        let whole =
            usable.into_iter().map(|range| (range.start.div_ceil(page).max(lowest), range.end / page));
        whole.filter(|(first, end)| first < end).for_each(|(first, end)| memory.add(first, end));
        memory
    }

    fn add(&mut self, mut first: u64, mut end: u64) {
        // Those left out, and those given twice, count: it is a limit that nothing may reach.
        self.frames += (end - first) as usize;
        for known in &mut self.ram {
            if known.0 <= end && first <= known.1 {
                (first, end) = (first.min(known.0), end.max(known.1));
                *known = (0, 0);
            }
        }
        let shortest = self.ram.iter_mut().min_by_key(|(first, end)| end - first);
        if let Some(shortest) = shortest.filter(|known| known.1 - known.0 < end - first) {
            *shortest = (first, end);
        }
    }

    /// Returns how many frames there are, or more.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    pub(super) fn is_ram(&self, frame: Frame) -> bool {
        self.ram.iter().any(|&(first, end)| (first..end).contains(&frame.number()))
    }

    /// Returns where a frame's bytes are seen.
    ///
    /// # Panics
    /// For frame 0, if memory is seen at its own addresses: nothing can point there.
    pub(super) fn pointer(&self, frame: Frame) -> NonNull<u8> {
        let address = self.offset + frame.address() as usize;
        NonNull::new(address as *mut u8).expect("frame 0 is not used where memory is seen at offset 0")
    }

    /// Returns the frame whose bytes are seen at an address.
    pub(super) fn frame(&self, pointer: NonNull<u8>) -> Frame {
        Frame::new((pointer.as_ptr() as usize - self.offset) as u64 / PAGE_SIZE as u64)
    }
}

/// Where a [`Machine`](super::Machine) takes frames from, and what it gives them back to. A pair of closures,
/// `(take, give)`, will do. Both are called with interrupts off and by one CPU at a time. They leave
/// interrupts off, do not call the library, and wait for nothing that needs another CPU to take an interrupt.
///
/// If handlers call the library or threads are preempted, any kernel lock that the two take is taken with
/// interrupts off everywhere; or they only try it, and else say that there is no frame, or that they did not
/// take one back. Otherwise they spin for ever, waiting for the code that they interrupted or preempted.
pub trait FrameSource {
    /// Takes a frame that nobody uses, with any contents. `None` means that there is none now.
    fn take(&mut self) -> Option<Frame>;

    /// Takes back a frame that [`take`](Self::take) gave, and returns true. An allocator that cannot, ever or
    /// now, returns false and leaves the frame to the machine, which hands it out again before it takes another.
    ///
    /// # Safety
    /// `take` gave the frame, it was not taken back since, and nobody uses it.
    unsafe fn give(&mut self, frame: Frame) -> bool;
}

impl<T: FnMut() -> Option<Frame>, G: FnMut(Frame) -> bool> FrameSource for (T, G) {
    fn take(&mut self) -> Option<Frame> {
        self.0()
    }

    unsafe fn give(&mut self, frame: Frame) -> bool {
        self.1(frame)
    }
}

/// A source, with the frames that it did not take back. These are in a list: each holds the number of the next.
pub(super) struct Supply<S> {
    pub source: S,
    first_kept: Option<Frame>,
    /// Frames that were taken and not given back.
    pub taken: usize,
}

impl<S: FrameSource> Supply<S> {
    pub fn new(source: S) -> Self {
        Self { source, first_kept: None, taken: 0 }
    }

    pub fn take(&mut self, memory: &Memory) -> Option<Frame> {
        let frame = match self.first_kept {
            Some(kept) => {
                // SAFETY: a frame that is kept is nobody's but this list's, and seen in memory; `give` wrote the number.
                let next = unsafe { memory.pointer(kept).cast::<u64>().read() };
                self.first_kept = (next != NONE).then(|| Frame::new(next));
                kept
            }
            None => self.source.take()?,
        };
        self.taken += 1;
        Some(frame)
    }

    /// # Safety
    /// `take` gave the frame, it was not given back since, and nobody uses it.
    pub unsafe fn give(&mut self, memory: &Memory, frame: Frame) {
        self.taken -= 1;
        // SAFETY: the caller's promise; what is kept here the source has not taken back.
        if !unsafe { self.source.give(frame) } {
            let next = self.first_kept.map_or(NONE, Frame::number);
            // SAFETY: nobody uses the frame any more, and its bytes are seen in memory.
            unsafe { memory.pointer(frame).cast::<u64>().write(next) };
            self.first_kept = Some(frame);
        }
    }
}

/// In place of a frame's number, in the last frame of the list.
const NONE: u64 = u64::MAX;
