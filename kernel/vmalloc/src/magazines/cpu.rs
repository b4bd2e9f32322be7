//! The magazines of one CPU: a frame.

use super::Ram;
use crate::{
    PAGE_SIZE,
    page_table::{Entry, Slots},
};
use core::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed},
};

/// Pages of the largest areas that are parked: those whose first entry tells how many they are.
pub(crate) const CLASSES: usize = Entry::MOST_COUNTED;

/// Areas that a frame has places for.
const PLACES: usize = first_place(CLASSES + 1);

/// Areas of one page, of two to four, and of more, that are parked at most.
const fn most(pages: usize) -> usize {
    match pages {
        1 => 138,
        2..=4 => 12,
        5..=CLASSES => 5,
        _ => 0,
    }
}

/// The first place of the areas of so many pages.
const fn first_place(pages: usize) -> usize {
    let (mut place, mut smaller) = (0, 0);
    while smaller < pages {
        place += most(smaller);
        smaller += 1;
    }
    place
}

const _: () = assert!(size_of::<Magazine>() <= PAGE_SIZE);

/// A small area that was freed: its pages are live in their block, and unmapped.
#[derive(Clone, Copy)]
pub(crate) struct Parked<'a> {
    pub address: usize,
    /// Its block's leaf table.
    pub leaf: &'a Slots,
}

/// Where an area is parked.
struct Place {
    address: AtomicUsize,
    leaf: AtomicPtr<Slots>,
}

/// The places of areas of one size: those from `first` to `next` are taken.
// Aligned, so that finding one takes a shift.
#[repr(C, align(16))]
struct Class {
    first: AtomicU32,
    next: AtomicU32,
    end: AtomicU32,
}

/// The magazines of one CPU. Only that CPU changes them, pinned; or who has closed them.
pub(crate) struct Magazine {
    pub ram: Ram,
    /// By the number of pages.
    classes: [Class; CLASSES + 1],
    places: [Place; PLACES],
}

/// A place for an area.
pub(crate) struct FreePlace<'a> {
    class: &'a Class,
    place: &'a Place,
    next: u32,
}

impl FreePlace<'_> {
    /// Parks an area of as many pages as the place is for.
    #[inline(always)]
    pub fn park(self, area: Parked<'_>) {
        self.place.address.store(area.address, Relaxed);
        self.place.leaf.store(ptr::from_ref(area.leaf).cast_mut(), Relaxed);
        self.class.next.store(self.next + 1, Relaxed);
    }
}

impl Magazine {
    /// Says how many areas of each size may be parked: as many as there are places, and not more than have `share` pages.
    pub fn set_limits(&self, share: usize) {
        for (pages, class) in self.classes.iter().enumerate() {
            let first = first_place(pages);
            let places = most(pages).min(share / (pages + 1));
            class.first.store(first as u32, Relaxed);
            class.next.store(first as u32, Relaxed);
            class.end.store((first + places) as u32, Relaxed);
        }
    }

    /// Returns the class of areas of so many pages; one without places if they are none, or more than [`CLASSES`].
    #[inline(always)]
    fn class(&self, pages: usize) -> &Class {
        self.classes.get(pages).unwrap_or(&self.classes[0])
    }

    /// Takes the area of `pages` pages that was parked last.
    #[inline(always)]
    pub fn take(&self, pages: usize) -> Option<Parked<'_>> {
        self.take_if(pages, |_| true)
    }

    /// Takes the area of `pages` pages that was parked last, if `is_fit` says so.
    #[inline(always)]
    pub fn take_if(&self, pages: usize, is_fit: impl FnOnce(&Parked<'_>) -> bool) -> Option<Parked<'_>> {
        let class = self.class(pages);
        let next = class.next.load(Relaxed);
        if next == class.first.load(Relaxed) {
            return None;
        }
        let area = self.parked((next - 1) as usize).filter(is_fit)?;
        class.next.store(next - 1, Relaxed);
        Some(area)
    }

    #[inline(always)]
    fn parked(&self, place: usize) -> Option<Parked<'_>> {
        let place = self.places.get(place)?;
        // SAFETY: `park` wrote it. The area is parked here, so that its block is in use and has its leaf table.
        let leaf = unsafe { NonNull::new_unchecked(place.leaf.load(Relaxed)).as_ref() };
        Some(Parked { address: place.address.load(Relaxed), leaf })
    }

    /// Returns a place for an area of `pages` pages if there is one.
    #[inline(always)]
    pub fn place(&self, pages: usize) -> Option<FreePlace<'_>> {
        let class = self.class(pages);
        let next = class.next.load(Relaxed);
        if next >= class.end.load(Relaxed) {
            return None;
        }
        Some(FreePlace { class, place: self.places.get(next as usize)?, next })
    }

    /// Returns how many areas of `pages` pages are parked.
    pub fn count(&self, pages: usize) -> usize {
        let class = self.class(pages);
        class.next.load(Relaxed).saturating_sub(class.first.load(Relaxed)) as usize
    }
}
