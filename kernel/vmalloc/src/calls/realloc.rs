//! `vrealloc`.

use super::{Made, pointer, trace::Asked};
use crate::{AreaInfo, Kind, PAGE_SIZE, Platform, ReallocError, Vmalloc, pending::Pressure, types::Caller};
use core::{panic::Location, ptr::NonNull};

impl<P: Platform> Vmalloc<P> {
    /// Resizes the area at `address` to `size` bytes, and returns where it is now. What both sizes have in
    /// common keeps its contents and protection; what is new has undefined contents, and the protection of
    /// the page that was the last: in an area with several, the caller sets another if needed. The area keeps
    /// its alignment only if it stays; if it moves, it is aligned to a page. The range that it was [asked for
    /// in](crate::Request::within) does not bind it any more. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`ReallocError`]; a refused call leaves the area as it was.
    ///
    /// # Safety
    /// Nobody else uses the area, nor its old address afterwards.
    #[track_caller]
    pub unsafe fn vrealloc(&self, address: NonNull<u8>, size: usize) -> Result<NonNull<u8>, ReallocError> {
        let (start, caller) = (address.as_ptr() as usize, Location::caller());
        match self.areas_room().resize_fast(start, size, caller) {
            Some(Pressure::Low) => Ok(address),
            resized => self.finish_resize(resized, address, size, caller),
        }
    }

    /// Ends what the fast path began, or did not do.
    #[inline(never)]
    fn finish_resize(
        &self,
        resized: Option<Pressure>,
        address: NonNull<u8>,
        size: usize,
        caller: Caller,
    ) -> Result<NonNull<u8>, ReallocError> {
        let now = match resized {
            Some(pressure) => {
                self.reclaim().relieve(pressure, caller);
                Ok(address)
            }
            None => {
                let area = self.own_area(address.as_ptr() as usize, Kind::Vmalloc, caller)?;
                if self.hides_pages(&area) {
                    return Err(ReallocError::Inaccessible { area, caller });
                }
                self.resize_slow(&area, size, caller)
            }
        };
        Ok(self.watched(|| Asked { size, align: PAGE_SIZE, kind: Kind::Vmalloc, caller }, now)?)
    }

    fn resize_slow(&self, area: &AreaInfo, size: usize, caller: Caller) -> Made {
        let areas = self.areas_room();
        let resize = areas.plan_resize(area, size, caller)?;
        let (now, pressure) = match resize.block_to_split() {
            Some(block) => {
                self.reclaim().split_huge(block, caller)?;
                (area.start, areas.shrink_run(&resize))
            }
            None => self.reclaim().make(|| resize.needs(), |attempt| areas.resize(&resize, attempt))?,
        };
        self.reclaim().relieve(pressure, caller);
        Ok(pointer(now))
    }
}
