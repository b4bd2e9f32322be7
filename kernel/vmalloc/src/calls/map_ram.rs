//! `vm_map_ram` and `vm_unmap_ram`.

use super::{Made, pointer, trace::Asked};
use crate::{
    AllocError, BLOCK_PAGES, Frame, FreeError, Kind, Platform, Protection, Vmalloc,
    areas::Needs,
    page_table::{Attributes, GuardInfo},
    pending::Pressure,
    types::{Caller, Owner},
};
use core::{panic::Location, ptr::NonNull};

impl<P: Platform> Vmalloc<P> {
    /// Maps the caller's frames, in the order given, to contiguous addresses, as [`vmap`](Self::vmap) does,
    /// but faster and without a guard page. It is for short-lived mappings: one that stays holds up a block
    /// that others share. Of several frames, only builds with debug assertions are sure to check that the
    /// CPUs can address each: one that they cannot faults when it is used. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; a refused call has changed nothing.
    #[inline]
    #[track_caller]
    pub fn vm_map_ram(&self, frames: &[Frame], protection: Protection) -> Result<NonNull<u8>, AllocError> {
        self.base().debug_assert_cpu();
        let attributes = Attributes::ram(protection);
        let mapped = match frames {
            // Code gets no page again without a flush.
            _ if matches!(protection, Protection::None | Protection::ReadExecute) => None,
            &[frame] => self.areas_room().map_ram_page(frame, attributes),
            _ => self.areas_room().map_ram_pages(frames, attributes),
        };
        match mapped {
            Some(start) => Ok(start),
            None => self.map_ram_slow(frames, protection, Location::caller()),
        }
    }

    #[inline(never)]
    fn map_ram_slow(&self, frames: &[Frame], protection: Protection, caller: Caller) -> Made {
        if protection != Protection::None
            && let Some(start) = self.areas_room().map_ram_near(frames, Attributes::ram(protection))
        {
            return Ok(start);
        }
        let made = self.map_ram(frames, protection, caller);
        self.watched(|| Asked::pages(frames.len(), Kind::VmMapRam, caller), made)
    }

    fn map_ram(&self, frames: &[Frame], protection: Protection, caller: Caller) -> Made {
        self.base().refuse_in_interrupt(AllocError::InInterrupt)?;
        if frames.len() > BLOCK_PAGES {
            let guard = GuardInfo { slack: 0, kind: Kind::VmMapRam, caller, made: self.base().now() };
            return self.map_frames(frames, protection, guard);
        }
        self.check_frames(frames, protection)?;
        let attributes = Attributes::ram(protection);
        self.reclaim()
            .make(|| Needs::pages(frames.len(), 0, caller), |_| self.areas_room().map_ram(frames, attributes))
            .map(pointer)
    }

    /// Unmaps the mapping of `count` pages, made by [`vm_map_ram`](Self::vm_map_ram), that starts at
    /// `address`. CPUs may still reach the frames by old translations until
    /// [`vm_unmap_aliases`](Self::vm_unmap_aliases). Refused in an interrupt handler.
    ///
    /// A frame that is repeatedly mapped alone may get the same page each time: unmapping such a mapping
    /// twice may unmap the next one.
    ///
    /// # Errors
    /// See [`FreeError`]; a refused call has changed nothing.
    ///
    /// # Safety
    /// Nobody uses the mapping any more.
    #[inline]
    #[track_caller]
    pub unsafe fn vm_unmap_ram(&self, address: NonNull<u8>, count: usize) -> Result<(), FreeError> {
        self.base().debug_assert_cpu();
        let address = address.as_ptr() as usize;
        let unmapped = match count {
            1 => self.areas_room().unmap_ram_page(address),
            _ => self.areas_room().unmap_ram(address, count),
        };
        match unmapped {
            Some(Pressure::Low) => Ok(()),
            unmapped => self.unmap_ram_slow(unmapped, address, count, Location::caller()),
        }
    }

    /// Ends what the fast path began; or unmaps a long mapping, or tells why there is nothing to be unmapped.
    #[inline(never)]
    fn unmap_ram_slow(
        &self,
        unmapped: Option<Pressure>,
        address: usize,
        count: usize,
        caller: Caller,
    ) -> Result<(), FreeError> {
        let pressure = match unmapped {
            Some(pressure) => pressure,
            None => {
                let area = self.own_area(address, Kind::VmMapRam, caller)?;
                if area.pages != count {
                    return Err(FreeError::WrongLength { pages: count, area, caller });
                }
                let areas = self.areas_room();
                let freed = self.remembering(address, Owner::Caller, caller, || {
                    areas.unmap_ram_there(address, count).or_else(|| areas.free(address, Owner::Caller))
                });
                // Of two calls for one mapping, one finds it gone.
                freed.ok_or(FreeError::NotAllocated { address, caller })?
            }
        };
        self.reclaim().relieve(pressure, caller);
        Ok(())
    }
}
