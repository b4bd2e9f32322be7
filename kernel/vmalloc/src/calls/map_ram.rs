//! `vm_map_ram` and `vm_unmap_ram`.

use crate::{
    AllocError, BLOCK_PAGES, Cache, Frame, FreeError, Kind, PAGE_SIZE, Platform, Protection, Vmalloc,
    areas::{Backing, Shape, pages_for},
    page_table::entry::Attributes,
    pending::Pressure,
    types::Owner,
};
use core::{panic::Location, ptr::NonNull};

impl<P: Platform> Vmalloc<P> {
    /// Maps frames of the caller's, in their order, to contiguous addresses, as [`vmap`](Self::vmap) does,
    /// but without a guard page behind, and faster. For mappings that soon go again: one that stays holds
    /// up a block that others share. Whether the CPUs can address each of several frames is only asked in builds with
    /// debug assertions: one that they cannot faults when it is used. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[inline]
    #[track_caller]
    pub fn vm_map_ram(&self, frames: &[Frame], protection: Protection) -> Result<NonNull<u8>, AllocError> {
        let attributes = Attributes::ram(protection);
        let mapped = match frames {
            &[frame] => self.areas_room().map_ram_page_fast(frame, attributes),
            _ => self.areas_room().map_ram_fast(frames, attributes),
        };
        match mapped {
            Some(start) => Ok(start),
            None => self.map_ram_slow(frames, protection, Location::caller()),
        }
    }

    #[inline(never)]
    fn map_ram_slow(
        &self,
        frames: &[Frame],
        protection: Protection,
        caller: &'static Location<'static>,
    ) -> Result<NonNull<u8>, AllocError> {
        let made = self.map_ram(frames, protection, caller);
        self.traced(frames.len().saturating_mul(PAGE_SIZE), caller, made)
    }

    fn map_ram(
        &self,
        frames: &[Frame],
        protection: Protection,
        caller: &'static Location<'static>,
    ) -> Result<NonNull<u8>, AllocError> {
        self.base().refuse_in_interrupt()?;
        self.check_frames(frames)?;
        let (pages, _) = pages_for(&self.base().span, frames.len().saturating_mul(PAGE_SIZE))?;
        if pages > BLOCK_PAGES {
            let backing = Backing::Frames(frames);
            let shape = Shape::foreign(pages, Kind::VmMapRam, protection, Cache::WriteBack, backing);
            return self.make(&shape, caller);
        }
        let attributes = Attributes::ram(protection);
        let start = self.reclaim().make(|| 0, |_| self.areas_room().map_ram(frames, attributes))?;
        NonNull::new(start as *mut u8).ok_or(AllocError::OutOfAddressSpace)
    }

    /// Unmaps the `count` pages of the mapping, made by [`vm_map_ram`](Self::vm_map_ram), that starts at
    /// `address`. CPUs may still reach the frames by old translations until
    /// [`vm_unmap_aliases`](Self::vm_unmap_aliases). Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`FreeError`]; nothing has changed then.
    ///
    /// # Safety
    /// Nobody uses the mapping any more.
    #[inline]
    #[track_caller]
    pub unsafe fn vm_unmap_ram(&self, address: NonNull<u8>, count: usize) -> Result<(), FreeError> {
        let address = address.as_ptr() as usize;
        let unmapped = match count {
            1 => self.areas_room().unmap_ram_page_fast(address),
            _ => self.areas_room().unmap_ram_fast(address, count),
        };
        match unmapped {
            Some(Pressure::Low) => Ok(()),
            unmapped => self.unmap_ram_slow(unmapped, address, count, Location::caller()),
        }
    }

    /// Ends what the fast way began; or unmaps a long mapping, or tells why there is nothing to be unmapped.
    #[inline(never)]
    fn unmap_ram_slow(
        &self,
        unmapped: Option<Pressure>,
        address: usize,
        count: usize,
        caller: &'static Location<'static>,
    ) -> Result<(), FreeError> {
        if let Some(pressure) = unmapped.or_else(|| self.areas_room().unmap_ram(address, count)) {
            self.reclaim().relieve(pressure);
            return Ok(());
        }
        self.refuse_unmap_in_interrupt(address, caller)?;
        match self.find_area(address) {
            Some(area) if area.start == address && area.kind == Kind::VmMapRam => {
                if area.pages != count {
                    return Err(FreeError::WrongLength { pages: count, area, caller });
                }
                // Of two calls for one mapping, one finds it gone.
                let Some(pressure) = self.areas_room().free(address, Owner::Caller) else {
                    return Err(FreeError::NotAllocated { address, caller });
                };
                self.reclaim().relieve(pressure);
                Ok(())
            }
            _ => Err(self.why_not(address, caller)),
        }
    }
}
