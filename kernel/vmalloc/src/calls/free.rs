//! `vfree` and `vunmap`.

use crate::{
    AreaInfo, FreeError, Kind, PAGE_SIZE, Platform, Vmalloc,
    pending::Pressure,
    types::{Caller, Owner},
};
use core::{panic::Location, ptr::NonNull};

impl<P: Platform> Vmalloc<P> {
    /// Frees the area that starts at `address`: its frames and its address space. In an interrupt handler
    /// it notes the area, and the next purge frees it.
    ///
    /// # Errors
    /// See [`FreeError`]; a refused call has changed nothing.
    ///
    /// # Safety
    /// Nobody uses the area any more.
    #[inline]
    #[track_caller]
    pub unsafe fn vfree(&self, address: NonNull<u8>) -> Result<(), FreeError> {
        self.base().debug_assert_cpu();
        let address = address.as_ptr() as usize;
        match self.areas_room().free_hot(address) {
            Some(Pressure::Low) => Ok(()),
            freed => self.free_slow(freed, address, Location::caller()),
        }
    }

    /// Ends what the fast path began, or did not do.
    #[inline(never)]
    fn free_slow(&self, freed: Option<Pressure>, address: usize, caller: Caller) -> Result<(), FreeError> {
        let freed = match freed {
            None if self.platform().in_interrupt() => self.remembering(address, Owner::Area, caller, || {
                self.pending().defer_free(address).then_some(Pressure::Low)
            }),
            None => self
                .remembering(address, Owner::Area, caller, || self.areas_room().free(address, Owner::Area)),
            freed => freed,
        };
        self.finish_free(freed, address, caller)
    }

    /// Relieves the pressure that a free caused, or tells why there was nothing to be freed.
    fn finish_free(&self, freed: Option<Pressure>, address: usize, caller: Caller) -> Result<(), FreeError> {
        self.reclaim().relieve(freed.ok_or_else(|| self.why_not(address, caller))?, caller);
        Ok(())
    }

    /// Unmaps the area at `address`, made by [`vmap`](Self::vmap) or [`ioremap`](Self::ioremap); for
    /// `ioremap`, `address` may be anywhere in its first page. CPUs may still reach the frames by old
    /// translations until [`vm_unmap_aliases`](Self::vm_unmap_aliases). Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`FreeError`]; a refused call has changed nothing.
    ///
    /// # Safety
    /// Nobody uses the area any more.
    #[track_caller]
    pub unsafe fn vunmap(&self, address: NonNull<u8>) -> Result<(), FreeError> {
        let (address, caller) = (address.as_ptr() as usize, Location::caller());
        self.base().refuse_in_interrupt(FreeError::InInterrupt { address, caller })?;
        let start = match self.find_area(address) {
            Some(area) if area.kind == Kind::Ioremap => address & !(PAGE_SIZE - 1),
            // Only a long one could be taken for another area.
            Some(area) if area.kind == Kind::VmMapRam => return Err(self.why_not(address, caller)),
            _ => address,
        };
        let freed =
            self.remembering(start, Owner::Caller, caller, || self.areas_room().free(start, Owner::Caller));
        self.finish_free(freed, address, caller)
    }

    /// Returns the area of this kind that starts at `address`, to be unmapped or resized. Refuses that in an interrupt
    /// handler.
    pub(super) fn own_area(&self, address: usize, kind: Kind, caller: Caller) -> Result<AreaInfo, FreeError> {
        self.base().refuse_in_interrupt(FreeError::InInterrupt { address, caller })?;
        let area = self.find_area(address).filter(|area| area.start == address && area.kind == kind);
        area.ok_or_else(|| self.why_not(address, caller))
    }

    /// Why what starts or does not start at `address` could not be freed or unmapped.
    #[cold]
    pub(super) fn why_not(&self, address: usize, caller: Caller) -> FreeError {
        match self.find_area(address) {
            _ if !self.contains(address) => FreeError::OutsideRange { address, caller },
            Some(area) if area.start == address => FreeError::WrongKind { area, caller },
            Some(area) => FreeError::InsideArea { address, area, caller },
            None => match self.base().remembered.find(self.platform(), address) {
                Some(freed) if freed.start == address => FreeError::FreedBefore { address, freed, caller },
                _ => FreeError::NotAllocated { address, caller },
            },
        }
    }
}
