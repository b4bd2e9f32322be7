//! The areas one CPU has parked whose first entry does not tell how many pages they have, in one frame.
//!
//! There are only a few places for each size, because one of these areas has as many frames as many small
//! ones. How many pages are parked in all is limited. If an area would exceed that, others make room, one
//! size after the other, its own in its turn, so that what a workload no longer needs goes.

use super::cpu::{Parked, Place};
use crate::{
    PAGE_SIZE,
    atomic::framed::{AtomicPtr, AtomicU32, Ordering::Relaxed},
    page_table::Entry,
};
use core::ptr;

/// Pages of the shortest areas that are parked here, and of the longest: those that share a block, and say how long they are.
const SHORTEST: usize = Entry::MOST_COUNTED + 1;
pub(crate) const LONGEST: usize = Entry::MOST_TOLD;

const SIZES: usize = LONGEST - SHORTEST + 1;

/// Areas of each size.
const PLACES: usize = 2;

/// Pages that a CPU parks at most, whatever memory there is: 32 MiB, guard pages included.
const MOST: usize = (32 << 20) / PAGE_SIZE;

const _: () = assert!(size_of::<Long>() <= PAGE_SIZE);

/// The long areas that are parked on one CPU. Only that CPU changes them, pinned; or who has closed the magazines.
#[repr(C)]
pub(crate) struct Long {
    /// Pages of what is parked, guard pages included.
    parked: AtomicU32,
    /// As many as they may be.
    most: AtomicU32,
    /// The place in `sizes` of the size that makes room next; behind the last one, the first.
    next: AtomicU32,
    /// Places that are not taken are null.
    sizes: [[Place; PLACES]; SIZES],
}

/// A place for an area.
pub(crate) struct LongPlace<'a> {
    long: &'a Long,
    place: &'a Place,
    area: Parked<'a>,
}

impl LongPlace<'_> {
    /// Parks the area.
    #[inline(always)]
    pub fn park(self) {
        self.area.park_in(self.place);
        self.long.count(self.area.slots.len() as u32);
    }
}

impl Long {
    /// Makes that of CPUs that have none: nothing is in it, nor can be.
    pub const fn without_places() -> Self {
        let (parked, most, next) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
        let sizes = [const { [const { AtomicPtr::new(ptr::null_mut()) }; PLACES] }; SIZES];
        Self { parked, most, next, sizes }
    }

    /// Says how many pages may be parked, guard pages included.
    pub fn set_limit(&self, pages: usize) {
        self.most.store(pages.min(MOST) as u32, Relaxed);
    }

    /// Counts more pages, or, by a number that wraps around, fewer.
    #[inline(always)]
    fn count(&self, pages: u32) {
        self.parked.store(self.parked.load(Relaxed).wrapping_add(pages), Relaxed);
    }

    /// Takes the area of `pages` pages that was parked last.
    #[inline(always)]
    pub fn take(&self, pages: usize) -> Option<Parked<'_>> {
        self.take_if(pages, |_| true)
    }

    /// Takes the area of `pages` pages that was parked last, if `is_fit` says that it is what is looked for.
    #[inline(always)]
    pub fn take_if(&self, pages: usize, is_fit: impl FnOnce(&Parked<'_>) -> bool) -> Option<Parked<'_>> {
        let size = self.sizes.get(pages.wrapping_sub(SHORTEST))?;
        let place = size.iter().rev().find(|place| !place.load(Relaxed).is_null())?;
        // SAFETY: `park` wrote it, among areas of so many pages.
        let area = unsafe { Parked::of_place(place, pages) };
        if !is_fit(&area) {
            return None;
        }
        place.store(ptr::null_mut(), Relaxed);
        self.count((area.slots.len() as u32).wrapping_neg());
        Some(area)
    }

    /// Returns whether areas of so many pages may be parked, if others make room.
    #[inline(always)]
    pub fn may_park(&self, pages: usize) -> bool {
        let free = self.sizes.get(pages.wrapping_sub(SHORTEST)).and_then(|size| size.last());
        free.is_some_and(|place| place.load(Relaxed).is_null()) && pages < self.most.load(Relaxed) as usize
    }

    /// Returns a place for an area which [may be parked](Self::may_park), if there is room for it.
    #[inline(always)]
    pub fn place<'a>(&'a self, area: Parked<'a>) -> Option<LongPlace<'a>> {
        let pages = area.slots.len() - 1;
        let size = self.sizes.get(pages.wrapping_sub(SHORTEST))?;
        let place = size.iter().find(|place| place.load(Relaxed).is_null())?;
        let has_room = self.parked.load(Relaxed) as usize + pages < self.most.load(Relaxed) as usize;
        has_room.then_some(LongPlace { long: self, place, area })
    }

    /// Takes an area of the size whose turn it is to make room. `None`: nothing is parked.
    pub fn take_any(&self) -> Option<Parked<'_>> {
        let first = self.next.load(Relaxed) as usize;
        let mut sizes = (0..SIZES).map(|size| (first + size) % SIZES);
        let (size, area) = sizes.find_map(|size| Some((size, self.take(size + SHORTEST)?)))?;
        self.next.store((size + 1) as u32, Relaxed);
        Some(area)
    }

    /// Returns how many areas are parked, and how many pages these have, guard pages included.
    pub fn counts(&self) -> (usize, usize) {
        let areas = self.sizes.iter().flatten().filter(|place| !place.load(Relaxed).is_null());
        (areas.count(), self.parked.load(Relaxed) as usize)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use super::*;
    use crate::{page_table::slot::Slot, tests::support::START};
    use std::vec::Vec;

    /// The entries of an area, and of its guard page.
    fn entries(pages: usize) -> Vec<Slot> {
        (0..=pages).map(|_| Slot::unused()).collect()
    }

    fn has_place(long: &Long, slots: &[Slot]) -> bool {
        long.place(Parked { address: START, slots }).is_some()
    }

    fn park(long: &Long, slots: &[Slot]) {
        long.place(Parked { address: START, slots }).expect("room").park();
    }

    /// Seen failing with a limit that does not count the guard page.
    #[test]
    fn an_area_may_be_parked_if_its_guard_page_fits_too() {
        let long = Long::without_places();
        long.set_limit(100);
        assert_eq!([99, 100].map(|pages| long.may_park(pages)), [true, false]);
        assert_eq!([99, 100].map(|pages| has_place(&long, &entries(pages))), [true, false]);
    }

    /// Seen failing with the first size that has areas each time.
    #[test]
    fn each_size_makes_room_in_its_turn() {
        let long = Long::without_places();
        long.set_limit(1000);
        let (short, longer) = (entries(SHORTEST), entries(SHORTEST + 2));
        let made_room = || long.take_any().map(|area| area.slots.len() - 1);
        [&short, &longer].iter().for_each(|slots| park(&long, slots));
        assert_eq!(made_room(), Some(SHORTEST));
        park(&long, &short);
        assert_eq!([(); 3].map(|()| made_room()), [Some(SHORTEST + 2), Some(SHORTEST), None]);
    }
}
