//! Congruent areas: making and freeing sets of them, populating and depopulating their pages.

use super::{pointer, trace::Asked};
use crate::{
    AllocError, CongruentArea, CongruentError, CongruentSet, FreeError, Kind, Platform, PopulateError,
    Vmalloc,
    areas::{Needs, Parts},
};
use core::{ops::Range, panic::Location};

impl<P: Platform> Vmalloc<P> {
    /// Allocates `areas`, listed from the lowest offset up, at a base aligned to `align` bytes and to a
    /// block: the lowest at which all are free. Their pages have no frames. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`CongruentError`]; a refused call has changed nothing.
    #[doc(alias = "pcpu_get_vm_areas")]
    #[track_caller]
    pub fn allocate_congruent(
        &self,
        areas: &[CongruentArea],
        align: usize,
    ) -> Result<CongruentSet, CongruentError> {
        let caller = Location::caller();
        self.base().refuse_in_interrupt(AllocError::InInterrupt)?;
        let parts = Parts::of(&self.base().span, areas, align)?;
        let attempt = |_| self.areas_room().make_congruent(&parts, caller);
        let made = self.reclaim().make(|| parts.needs(caller), attempt);
        if self.base().is_traced() {
            // A set is refused once.
            for area in areas.iter().take(if made.is_ok() { areas.len() } else { 1 }) {
                let asked = Asked { size: area.size, align, kind: Kind::Congruent, caller };
                self.trace_made(asked, made.map(|set| pointer(set.base + area.offset)));
            }
        }
        Ok(made?)
    }

    /// Frees all areas of a set, with whatever frames they have. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`FreeError`]; a refused call has changed nothing.
    ///
    /// # Safety
    /// 1. This instance allocated the set, and it was not freed.
    /// 2. Nobody uses the areas any more, nor populates or depopulates pages meanwhile.
    #[doc(alias = "pcpu_free_vm_areas")]
    #[track_caller]
    pub unsafe fn free_congruent(&self, set: CongruentSet) -> Result<(), FreeError> {
        let (address, caller) = (set.base, Location::caller());
        self.base().refuse_in_interrupt(FreeError::InInterrupt { address, caller })?;
        let freed = self.areas_room().free_congruent(set, caller);
        self.reclaim().relieve(freed.ok_or(FreeError::NotAllocated { address, caller })?, caller);
        Ok(())
    }

    /// Gives frames, with undefined contents, to the pages `pages` of every area of a set that has any of
    /// them; pages are counted from the beginning of each area. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`PopulateError`]; a refused call has changed nothing. `NotAllocated` is always right, but not
    /// every set that is not allocated is found to be so.
    ///
    /// # Safety
    /// 1. This instance allocated the set, and it was not freed: the blocks of a freed set may be somebody
    ///    else's by now, or have lost their descriptors.
    /// 2. Nobody frees the set meanwhile.
    #[track_caller]
    pub unsafe fn populate(&self, set: CongruentSet, pages: Range<usize>) -> Result<(), PopulateError> {
        self.base().refuse_in_interrupt(PopulateError::InInterrupt)?;
        let caller = Location::caller();
        // Once nothing is cached, the pages have no frames either.
        let needs = || {
            let frames = self.areas_room().count_pages(set, &pages).unwrap_or(0);
            Needs::pages(frames, frames, caller)
        };
        let populated = self.reclaim().make(needs, |_| match self.areas_room().populate(set, &pages) {
            Err(PopulateError::OutOfFrames { .. }) => Err(AllocError::NO_FRAMES),
            result => Ok(result),
        });
        populated.unwrap_or_else(|error| match error {
            AllocError::OutOfFrames { needed, free } => Err(PopulateError::OutOfFrames { needed, free }),
            other => unreachable!("frames were short: {other}"),
        })
    }

    /// Takes the frames away again from the pages `pages` of every area of a set that has any of them. They
    /// go back, if they are needed, once every CPU has flushed. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`PopulateError`]; a refused call has changed nothing.
    ///
    /// # Safety
    /// 1. This instance allocated the set, and it was not freed.
    /// 2. Nobody frees the set meanwhile.
    /// 3. Nobody uses the pages any more, nor populates or depopulates them meanwhile.
    #[track_caller]
    pub unsafe fn depopulate(&self, set: CongruentSet, pages: Range<usize>) -> Result<(), PopulateError> {
        self.base().refuse_in_interrupt(PopulateError::InInterrupt)?;
        self.reclaim().relieve(self.areas_room().depopulate(set, &pages)?, Location::caller());
        Ok(())
    }
}
