//! Where the kernel sees the bytes of a frame of RAM. The loader puts the direct map at the same place as
//! the kernel's own tables do, so pointers stay good when the kernel changes over.

use super::lookup::lookup_unguarded;
use crate::arch::layout::{DIRECT_MAP_END, DIRECT_MAP_START};
use core::ptr::NonNull;
use vmalloc::{Frame, PAGE_SHIFT};

/// Where the frame's first byte is seen.
#[inline]
#[must_use]
pub fn pointer(frame: Frame) -> NonNull<u8> {
    // SAFETY: the direct map starts above zero and does not wrap.
    unsafe { NonNull::new_unchecked((DIRECT_MAP_START + frame.address()) as *mut u8) }
}

/// Whether the direct map shows the frame: it does if the memory map has it as memory, whoever uses it. The page
/// tables are asked, which say so for ever; may be called anywhere once they are in use.
#[must_use]
pub fn shows(frame: Frame) -> bool {
    let is_inside = frame.address() < DIRECT_MAP_END - DIRECT_MAP_START;
    // SAFETY: the direct map's tables are never given back.
    is_inside && unsafe { lookup_unguarded(DIRECT_MAP_START + frame.address()) }.is_some()
}

/// The frame seen at an address of the direct map.
#[inline]
#[must_use]
pub fn frame(pointer: NonNull<u8>) -> Frame {
    Frame::new((pointer.as_ptr() as u64 - DIRECT_MAP_START) >> PAGE_SHIFT)
}
