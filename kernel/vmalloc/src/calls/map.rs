//! Mapping what is not the library's: `vmap`, of frames of the caller's, and `ioremap`, of devices.

use crate::{
    AllocError, Cache, Frame, Kind, PAGE_SHIFT, PAGE_SIZE, Platform, Protection, Vmalloc,
    areas::{Backing, Shape, pages_for},
};
use core::{panic::Location, ptr::NonNull};

impl<P: Platform> Vmalloc<P> {
    /// Maps frames of the caller's, in their order, to contiguous addresses with a guard page behind.
    /// The frames stay the caller's. Who gives them to somebody else first calls
    /// [`vunmap`](Self::vunmap), then [`vm_unmap_aliases`](Self::vm_unmap_aliases). Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    pub fn vmap(&self, frames: &[Frame], protection: Protection) -> Result<NonNull<u8>, AllocError> {
        let (size, caller) = (frames.len().saturating_mul(PAGE_SIZE), Location::caller());
        let pages = self.check_frames(frames).and_then(|()| pages_for(&self.base().span, size));
        let made = pages.and_then(|(pages, _)| {
            let backing = Backing::Frames(frames);
            let shape = Shape::foreign(pages, Kind::Vmap, protection, Cache::WriteBack, backing);
            self.make(&shape, caller)
        });
        self.traced(size, caller, made)
    }

    /// Whether the CPUs can address frames that are to be mapped, and there are any.
    pub(super) fn check_frames(&self, frames: &[Frame]) -> Result<(), AllocError> {
        if frames.is_empty() {
            return Err(AllocError::NoFrames);
        }
        let is_bad = |frame: &&Frame| !self.areas_room().is_addressable(**frame);
        frames.iter().find(is_bad).map_or(Ok(()), |&frame| Err(AllocError::BadFrame { frame }))
    }

    /// Maps `size` bytes of the physical address space from `physical` on: a device's registers or
    /// memory. Neither needs to be page-aligned. The pointer is to the first byte asked for. RAM is refused, but
    /// for [`Cache::WriteBack`], as which it is cached elsewhere. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    pub fn ioremap(&self, physical: u64, size: usize, cache: Cache) -> Result<NonNull<u8>, AllocError> {
        let caller = Location::caller();
        let made = self.map_physical(physical, size, cache, caller);
        self.traced(size, caller, made)
    }

    fn map_physical(
        &self,
        physical: u64,
        size: usize,
        cache: Cache,
        caller: &'static Location<'static>,
    ) -> Result<NonNull<u8>, AllocError> {
        let offset = physical as usize % PAGE_SIZE;
        let end = physical.checked_add(size as u64).filter(|&end| self.base().is_addressable(end));
        if end.is_none() {
            return Err(AllocError::BadPhysicalRange { start: physical, size });
        }
        if size == 0 {
            return Err(AllocError::ZeroSize);
        }
        let (pages, behind) = pages_for(&self.base().span, offset + size)?;
        let first = Frame::new(physical >> PAGE_SHIFT);
        let mut frames = (first.number()..).take(pages).map(Frame::new);
        if cache != Cache::WriteBack
            && let Some(frame) = frames.find(|&frame| self.platform().is_ram(frame))
        {
            return Err(AllocError::CachedElsewhere { frame });
        }
        let backing = Backing::Physical(first);
        let shape = Shape::foreign(pages, Kind::Ioremap, Protection::ReadWrite, cache, backing);
        // Of the first page and of the last.
        let shape = Shape { slack: offset + behind, ..shape };
        let area = self.make(&shape, caller)?;
        // SAFETY: the offset lies in the area's first page.
        Ok(unsafe { area.byte_add(offset) })
    }
}
