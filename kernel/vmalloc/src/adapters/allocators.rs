//! Frames and frame allocators of the crate `x86_64`.

use super::FrameSource;
use crate::Frame;
use ::x86_64::{
    PhysAddr,
    structures::paging::{FrameAllocator, FrameDeallocator, PhysFrame, Size4KiB},
};

/// A [`FrameSource`] made from an allocator of the crate `x86_64` that takes frames back.
#[derive(Clone, Copy, Debug)]
pub struct Freeing<A>(pub A);

impl<A: FrameAllocator<Size4KiB> + FrameDeallocator<Size4KiB>> FrameSource for Freeing<A> {
    fn take(&mut self) -> Option<Frame> {
        self.0.allocate_frame().map(Frame::from)
    }

    unsafe fn give(&mut self, frame: Frame) -> bool {
        // SAFETY: the allocator gave the frame, and nobody uses it any more.
        unsafe { self.0.deallocate_frame(frame.into()) };
        true
    }
}

/// A [`FrameSource`] made from an allocator of the crate `x86_64` that does not take frames back: the machine
/// keeps them, and hands them out again before it takes others.
#[derive(Clone, Copy, Debug)]
pub struct NeverFreeing<A>(pub A);

impl<A: FrameAllocator<Size4KiB>> FrameSource for NeverFreeing<A> {
    fn take(&mut self) -> Option<Frame> {
        self.0.allocate_frame().map(Frame::from)
    }

    unsafe fn give(&mut self, _: Frame) -> bool {
        false
    }
}

impl From<PhysFrame> for Frame {
    fn from(frame: PhysFrame) -> Self {
        Self::at(frame.start_address().as_u64())
    }
}

impl From<Frame> for PhysFrame {
    fn from(frame: Frame) -> Self {
        Self::containing_address(PhysAddr::new(frame.address()))
    }
}
