//! The host's memory: the machine's frames, and what lies where the program follows pointers.

extern crate std;

use super::{
    Machine,
    entry::{self, PRESENT},
};
use crate::{BLOCK_SIZE, Frame, PAGE_SIZE, Table};
use core::{ops::Range, ptr::NonNull, sync::atomic::Ordering};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    sync::PoisonError,
};

impl Machine {
    /// Returns the physical addresses of the machine's memory.
    pub fn ram(&self) -> Range<u64> {
        Frame::new(self.first).address()..Frame::new(self.first + 1 + self.frames as u64).address()
    }

    /// Makes the machine run out of memory: it still gives this many frames, tables and 2 MiB frames.
    pub fn fail_after(&self, allocations: usize) {
        self.allowance.store(allocations as isize, Ordering::Relaxed);
    }

    /// Ends what [`fail_after`](Self::fail_after) began.
    pub fn never_fail(&self) {
        self.allowance.store(-1, Ordering::Relaxed);
    }

    pub(super) fn may_allocate(&self) -> bool {
        let before = self.allowance.load(Ordering::Relaxed);
        if before > 0 {
            self.allowance.store(before - 1, Ordering::Relaxed);
        }
        before != 0
    }

    /// Returns how many frames are free.
    pub fn free_frames(&self) -> usize {
        self.state().free.len()
    }

    /// Single frames and tables that were taken so far, whether or not they came back.
    pub(crate) fn frames_taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Checks that every frame is free except the root and the directories that it links, as must be so once
    /// there is no instance any more.
    ///
    /// # Panics
    /// if frames are missing.
    pub fn assert_all_frames_back(&self) {
        let directories: usize = self
            .links(self.root)
            .map(|upper| 1 + self.links(upper).map(|lower| 1 + self.links(lower).count()).sum::<usize>())
            .sum();
        assert_eq!(self.free_frames() + directories, self.frames, "frames are missing");
    }

    fn links(&self, table: Frame) -> impl Iterator<Item = Frame> {
        let table = self.table(table);
        (0..512).filter_map(move |index| {
            let entry = table[index].load(Ordering::Relaxed);
            (entry & PRESENT != 0).then(|| Frame::new(entry::frame(entry)))
        })
    }

    /// The bytes of a frame, as the machine itself sees them.
    pub(super) fn bytes(&self, frame: Frame) -> NonNull<u8> {
        let index = (frame.number().wrapping_sub(self.first)) as usize;
        assert!(index <= self.frames, "no frame: {frame:?}");
        // SAFETY: inside the allocation.
        unsafe { self.memory.byte_add(index * PAGE_SIZE) }
    }

    pub(super) fn table(&self, frame: Frame) -> &Table {
        // SAFETY: the frame is inside `memory`, aligned, initialised with zeros.
        unsafe { self.bytes(frame).cast::<Table>().as_ref() }
    }

    pub(super) fn take(&self) -> Option<Frame> {
        let frame = self.may_allocate().then(|| self.state().free.pop_first().map(Frame::new)).flatten();
        self.taken.fetch_add(frame.is_some().into(), Ordering::Relaxed);
        frame
    }

    pub(super) fn give(&self, frames: Range<u64>) {
        let mut state = self.state();
        // One that is offline uses and speculates on nothing.
        let online = self.shootdown.online();
        for frame in frames {
            let is_ours = (self.first..=self.first + self.frames as u64).contains(&frame);
            assert!(is_ours && frame != self.root.number(), "no frame: {frame:#x}");
            for (cpu, tlb) in state.tlbs.iter().enumerate().filter(|&(cpu, _)| online.contains(cpu)) {
                let (page, table) = tlb.reaches(frame);
                // A CPU that sleeps uses no page before it has flushed. But it speculates, and walks.
                let reached = table || page && !state.asleep[cpu];
                assert!(!reached, "frame {frame:#x} was given back while CPU {cpu} can reach it");
            }
            // Who still reads it finds this: neither a pointer, nor an entry that is not present, nor the role of a block
            // that nobody uses.
            // SAFETY: the frame is inside `memory`, and nobody's.
            unsafe { self.bytes(Frame::new(frame)).write_bytes(0xa1, PAGE_SIZE) };
            assert!(state.free.insert(frame), "frame {frame:#x} was given back twice");
        }
    }

    /// Takes back a frame that the program itself [took](crate::Platform::take_frames), and may have mapped.
    ///
    /// # Panics
    /// if a CPU can still reach the frame, or the machine has it already.
    pub fn give_back(&self, frame: Frame) {
        self.give(frame.number()..frame.number() + 1);
    }

    /// Memory for so many frames wherever it is aligned to 2 MiB in it. What asks for no alignment the host need not fill
    /// with zeros first.
    pub(super) fn layout(frames: usize) -> Layout {
        Layout::array::<u8>(frames * PAGE_SIZE + BLOCK_SIZE).expect("a small layout")
    }

    /// Returns a range for an instance whose areas the program itself may use, by pointers and by owning
    /// types: host memory lies there, 2 MiB for each of the `blocks`. The simulated CPUs do not see what the
    /// program writes there, nor does the program see what they write.
    ///
    /// # Panics
    /// if there are no blocks.
    ///
    /// # Safety
    /// The page tables do not govern this memory: an area that moves to another address leaves its bytes
    /// behind, the next owner finds those of the last one, and the program may write what is protected. So
    /// nothing may rely on bytes being kept when an area is resized, as `VVec` and `Heap` do when they grow,
    /// nor on zeros at addresses that were used before.
    pub unsafe fn pointers(&self, blocks: usize) -> Range<usize> {
        let memory = Blocks::new(blocks);
        let start = memory.start.addr().get();
        let range = start..start + memory.layout.size();
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        range
    }
}

/// Memory of the host where an instance's range is.
pub(super) struct Blocks {
    start: NonNull<u8>,
    layout: Layout,
}

impl Blocks {
    fn new(blocks: usize) -> Self {
        assert!(blocks > 0, "a range of no blocks");
        let layout = Layout::from_size_align(blocks * BLOCK_SIZE, BLOCK_SIZE).expect("a small layout");
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) });
        Self { start: start.unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout. The machine is dropped after its instances, whose areas lay here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
