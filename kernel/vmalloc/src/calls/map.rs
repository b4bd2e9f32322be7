//! Mapping what is not the library's: `vmap`, of frames of the caller's, and `ioremap`, of devices.

use super::{Made, trace::Asked};
use crate::{
    AllocError, Cache, Frame, Kind, PAGE_SHIFT, PAGE_SIZE, Platform, Protection, Vmalloc,
    areas::{Backing, Shape, pages_for},
    page_table::{Attributes, GuardInfo},
    types::{Caller, Owner},
};
use core::{panic::Location, ptr::NonNull};

impl<P: Platform> Vmalloc<P> {
    /// Maps the caller's frames, in the order given, to contiguous addresses, followed by a guard page. The
    /// frames stay the caller's. Before giving them to somebody else, the caller calls
    /// [`vunmap`](Self::vunmap), then [`vm_unmap_aliases`](Self::vm_unmap_aliases). Each group of 512
    /// frames, counted from the start of the list, that is contiguous and aligned to 2 MiB is mapped by a
    /// 2 MiB page; [`set_protection`](Self::set_protection) of a part of one takes a frame for a page table.
    /// Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; a refused call has changed nothing.
    #[track_caller]
    pub fn vmap(&self, frames: &[Frame], protection: Protection) -> Result<NonNull<u8>, AllocError> {
        let caller = Location::caller();
        let guard = GuardInfo { slack: 0, kind: Kind::Vmap, caller, made: self.base().now() };
        let made = self.map_frames(frames, protection, guard);
        self.watched(|| Asked::pages(frames.len(), Kind::Vmap, caller), made)
    }

    /// Maps frames of the caller's as an area with this guard page.
    pub(super) fn map_frames(&self, frames: &[Frame], protection: Protection, guard: GuardInfo) -> Made {
        self.check_frames(frames, protection)?;
        let (pages, _) = pages_for(&self.base().span, frames.len().saturating_mul(PAGE_SIZE))?;
        let attributes = Attributes::new(protection, Owner::Caller);
        self.make(&Shape::new(pages, guard, attributes, Backing::Frames(frames)))
    }

    /// Checks frames that are to be mapped: they may be accessed, there are some, and the CPUs can address them.
    pub(super) fn check_frames(&self, frames: &[Frame], protection: Protection) -> Result<(), AllocError> {
        if protection == Protection::None {
            return Err(AllocError::NoAccess);
        }
        if frames.is_empty() {
            return Err(AllocError::NoFrames);
        }
        let is_addressable = |&frame: &Frame| self.areas_room().is_addressable(frame);
        // One test for all, as the CPUs address what has no bit above theirs.
        let all = Frame::at(frames.iter().fold(0, |all, frame| all | frame.address()));
        if !is_addressable(&all)
            && let Some(&frame) = frames.iter().find(|&frame| !is_addressable(frame))
        {
            return Err(AllocError::BadFrame { frame });
        }
        Ok(())
    }

    /// Maps `size` bytes of physical address space, starting at `physical`: a device's registers or memory.
    /// Neither needs to be page-aligned. The pointer is to the first byte asked for. RAM is refused except
    /// with [`Cache::WriteBack`], as which it is cached elsewhere. If the first page is aligned to 2 MiB,
    /// 2 MiB pages map the range as far as it fills them. The firmware must have given each of these one
    /// memory type (by the MTRRs); the first 2 MiB of physical addresses, where it has not, are always mapped
    /// by 4 KiB pages. Refused in an interrupt handler. `Mmio` (feature `mmio`) owns such a mapping.
    ///
    /// # Errors
    /// See [`AllocError`]; a refused call has changed nothing.
    #[track_caller]
    pub fn ioremap(&self, physical: u64, size: usize, cache: Cache) -> Result<NonNull<u8>, AllocError> {
        let caller = Location::caller();
        let made = self.map_physical(physical, size, cache, caller);
        self.watched(|| Asked { size, align: PAGE_SIZE, kind: Kind::Ioremap, caller }, made)
    }

    fn map_physical(&self, physical: u64, size: usize, cache: Cache, caller: Caller) -> Made {
        let offset = physical as usize % PAGE_SIZE;
        let end = physical.checked_add(size as u64).filter(|&end| self.base().is_addressable(end));
        end.ok_or(AllocError::BadPhysicalRange { start: physical, size })?;
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
        let attributes = Attributes::of_device(cache, self.platform().page_attribute_table());
        let attributes = attributes.ok_or(AllocError::NoMemoryType { cache })?;
        // Of the first page and of the last.
        let guard =
            GuardInfo { slack: offset + behind, kind: Kind::Ioremap, caller, made: self.base().now() };
        let area = self.make(&Shape::new(pages, guard, attributes, Backing::Physical(first)))?;
        // SAFETY: the offset lies in the area's first page.
        Ok(unsafe { area.byte_add(offset) })
    }
}
