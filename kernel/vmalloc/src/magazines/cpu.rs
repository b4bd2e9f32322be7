//! The magazines of one CPU, in one frame.

use super::{Long, Ram};
use crate::{
    BLOCK_PAGES, PAGE_SIZE,
    atomic::framed::{AtomicPtr, AtomicU32, Ordering::Relaxed},
    page_table::{Entry, Slot},
};
use core::{
    ptr::{self, NonNull},
    slice,
};

/// Pages of the largest areas that are parked: those whose first entry tells how many they are.
pub(crate) const CLASSES: usize = Entry::MOST_COUNTED;

/// How many times as many pages all longer areas have as those of one size up to [`CLASSES`]: 3/32 of the memory.
const LONG: usize = 24;

/// Areas that a frame has places for.
const PLACES: usize = first_place(CLASSES);

/// Areas of one page, of two to four, and of more, that are parked at most.
const fn most(class: usize) -> usize {
    match class {
        0 => 304,
        1..=3 => 24,
        _ => 8,
    }
}

/// The first place of the areas of a class.
const fn first_place(class: usize) -> usize {
    let (mut place, mut smaller) = (0, 0);
    while smaller < class {
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
    /// The entries of its pages, and the one of the guard page behind them.
    pub slots: &'a [Slot],
}

/// Where an area is parked: its first entry. The one behind its pages says where it starts, so that a place is small, and no
/// line of memory is touched but those that the allocation needs anyway.
pub(super) type Place = AtomicPtr<Slot>;

impl Parked<'_> {
    /// Returns the area of `pages` pages that a place leads to.
    ///
    /// # Safety
    /// [`park_in`](Self::park_in) wrote the place, for an area of so many pages, which nobody has taken since: so its block is
    /// in use and has its leaf table.
    #[inline(always)]
    pub(super) unsafe fn of_place(place: &Place, pages: usize) -> Self {
        // SAFETY: the caller's promise.
        let slots =
            unsafe { slice::from_raw_parts(NonNull::new_unchecked(place.load(Relaxed)).as_ptr(), pages + 1) };
        Self { address: slots[pages].get().parked_address(), slots }
    }

    /// Writes where the area is.
    #[inline(always)]
    pub(super) fn park_in(&self, place: &Place) {
        self.slots[self.slots.len() - 1].set(Entry::behind_parked(self.address));
        place.store(self.slots.as_ptr().cast_mut(), Relaxed);
    }
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
// In this order, which saves a fast path an addition.
#[repr(C)]
pub(crate) struct Magazine {
    /// By the number of pages, from one on.
    classes: [Class; CLASSES],
    places: [Place; PLACES],
    pub ram: Ram,
    long: AtomicPtr<Long>,
}

/// The area of a class that was parked last.
pub(crate) struct LastParked<'a> {
    class: &'a Class,
    pub area: Parked<'a>,
}

impl<'a> LastParked<'a> {
    /// Takes the area.
    #[inline(always)]
    pub fn take(self) -> Parked<'a> {
        // Read again, which saves a register.
        self.class.next.store(self.class.next.load(Relaxed) - 1, Relaxed);
        self.area
    }
}

/// A place for an area.
pub(crate) struct FreePlace<'a> {
    class: &'a Class,
    place: &'a Place,
    area: Parked<'a>,
}

impl FreePlace<'_> {
    /// Parks the area.
    #[inline(always)]
    pub fn park(self) {
        self.area.park_in(self.place);
        self.class.next.store(self.class.next.load(Relaxed) + 1, Relaxed);
    }
}

impl Magazine {
    /// Returns those that stand for none: nothing is in them, nor can be.
    #[inline(always)]
    pub fn without_places() -> &'static Self {
        static WITHOUT_PLACES: Magazine = Magazine {
            classes: [const { Class { first: AtomicU32::new(0), next: AtomicU32::new(0), end: AtomicU32::new(0) } };
                CLASSES],
            places: [const { AtomicPtr::new(ptr::null_mut()) }; PLACES],
            ram: Ram::without_pages(),
            long: AtomicPtr::new((&raw const WITHOUT_LONG).cast_mut()),
        };
        static WITHOUT_LONG: Long = Long::without_places();
        &WITHOUT_PLACES
    }

    /// Returns whether they are those [without places](Self::without_places).
    #[inline(always)]
    pub fn are_none(&self) -> bool {
        ptr::eq(self, Self::without_places())
    }

    /// Says where the areas of more than [`CLASSES`] pages are.
    ///
    /// # Safety
    /// It is initialised, and stays as long as this.
    pub unsafe fn set_long(&self, long: NonNull<Long>) {
        self.long.store(long.as_ptr(), Relaxed);
    }

    /// Returns where the areas of more than [`CLASSES`] pages are.
    #[inline(always)]
    pub fn long_frame(&self) -> NonNull<Long> {
        // SAFETY: `set_long` wrote it before the magazine was linked, and nobody writes it again; `without_places` has one.
        unsafe { NonNull::new_unchecked(self.long.load(Relaxed)) }
    }

    /// Returns the areas of more than [`CLASSES`] pages.
    #[inline(always)]
    pub fn long(&self) -> &Long {
        // SAFETY: `set_long` was promised that it is there.
        unsafe { self.long_frame().as_ref() }
    }

    /// Says how many areas of each size may be parked: as many as there are places, and not more than have `share` pages; of
    /// those of more than [`CLASSES`] pages [`LONG`] times as many in all, but for the pages of a block, because one such area
    /// may keep a block with all its frames in use.
    pub fn set_limits(&self, share: usize) {
        self.long().set_limit((LONG * share).saturating_sub(BLOCK_PAGES));
        for (number, class) in self.classes.iter().enumerate() {
            let first = first_place(number);
            let places = most(number).min(share / (number + 2));
            class.first.store(first as u32, Relaxed);
            class.next.store(first as u32, Relaxed);
            class.end.store((first + places) as u32, Relaxed);
        }
    }

    /// Returns the class of areas of so many pages, if they are some, and not more than [`CLASSES`].
    #[inline(always)]
    fn class(&self, pages: usize) -> Option<&Class> {
        self.classes.get(pages.wrapping_sub(1))
    }

    /// Takes the area of `pages` pages that was parked last.
    pub fn take(&self, pages: usize) -> Option<Parked<'_>> {
        Some(self.last(pages)?.take())
    }

    /// Returns the area of `pages` pages that was parked last, to be taken or left.
    #[inline(always)]
    pub fn last(&self, pages: usize) -> Option<LastParked<'_>> {
        let class = self.class(pages)?;
        let next = class.next.load(Relaxed);
        if next == class.first.load(Relaxed) {
            return None;
        }
        // SAFETY: there is one between the first and the end of its class.
        let place = unsafe { self.place_at(next - 1) };
        // SAFETY: `park` wrote it, in the class of areas of so many pages.
        Some(LastParked { class, area: unsafe { Parked::of_place(place, pages) } })
    }

    /// Returns a place.
    ///
    /// # Safety
    /// There is one of this number: it lies between the `first` and the `end` of a class, of which none other than
    /// [`set_limits`](Self::set_limits) changes either.
    // That it is there is not asked for, which would cost an allocation a twentieth more.
    #[inline(always)]
    unsafe fn place_at(&self, number: u32) -> &Place {
        // SAFETY: the caller's promise.
        unsafe { self.places.get_unchecked(number as usize) }
    }

    /// Returns a place for an area of `pages` pages if there is one.
    // The number again, of which the caller knows that it is small.
    #[inline(always)]
    pub fn place<'a>(&'a self, pages: usize, area: Parked<'a>) -> Option<FreePlace<'a>> {
        let class = self.class(pages)?;
        let next = class.next.load(Relaxed);
        if next >= class.end.load(Relaxed) {
            return None;
        }
        // SAFETY: `next` is at least `first`, and less than `end`.
        Some(FreePlace { class, place: unsafe { self.place_at(next) }, area })
    }

    /// Returns how many areas of `pages` pages are parked.
    pub fn count(&self, pages: usize) -> usize {
        let parked = |class: &Class| class.next.load(Relaxed).saturating_sub(class.first.load(Relaxed));
        self.class(pages).map_or(0, parked) as usize
    }
}
