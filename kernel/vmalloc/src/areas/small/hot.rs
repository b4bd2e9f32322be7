//! The fast path: areas that are parked in the CPU's magazines.
//!
//! An allocation that finds none goes on to the CPU's pool. A free that finds no place retires the half of its magazine that
//! was parked last, and parks the area then: several pages under one hold of a block's lock. The module `magazines` tells
//! why an area that is taken again needs no flush.

use super::{Claimed, guard_of, slots_of};
use crate::{
    BLOCK_SHIFT, MAX_CPUS, PAGE_SIZE, Platform,
    areas::{Areas, Shape},
    magazines::{CLASSES, Closed, Magazine, Parked},
    page_table::{Attributes, Entry, Slot, Slots, publish_area, publish_parked, remap, toggle_rest},
    pending::Pressure,
    percpu::Record,
    span::page_in_block,
    types::{Caller, Owner},
};
use core::{iter, ops::Range, ptr::NonNull};

/// Bytes of the largest areas that are parked.
const MOST_PARKED: usize = CLASSES * PAGE_SIZE;

impl<P: Platform> Areas<P> {
    /// Allocates an area of its own frames, aligned to a page, from what this CPU has. `None`: it is not to be had so.
    // One page apart: it calls nothing, so that no register is saved.
    #[inline(never)]
    pub fn allocate_hot(&self, size: usize, attributes: Attributes, caller: Caller) -> Option<NonNull<u8>> {
        if size.wrapping_sub(1) >= PAGE_SIZE {
            return match size.wrapping_sub(1) {
                0..MOST_PARKED => self.allocate_pages(size, attributes, caller),
                _ => self.allocate_fast(size, attributes, caller),
            };
        }
        let pin = self.platform().pin_outside_interrupts()?;
        let Some(magazine) = self.magazines.of(&pin) else {
            return self.allocate_first(pin, size, attributes, caller);
        };
        let Some(area) = magazine.take(1) else {
            drop(pin);
            return self.allocate_fast(size, attributes, caller);
        };
        let (slots, end) = self.parked_slots(area, 1);
        if !publish_parked(slots, end, attributes, || Entry::guard(guard_of(1, size, caller))) {
            return self.map_parked(area, size, attributes, caller);
        }
        NonNull::new(area.address as *mut u8)
    }

    /// Allocates as [`allocate_hot`](Self::allocate_hot) does. The size is not zero.
    #[inline(never)]
    fn allocate_pages(&self, size: usize, attributes: Attributes, caller: Caller) -> Option<NonNull<u8>> {
        let pages = size.wrapping_sub(1) / PAGE_SIZE + 1;
        let pin = self.platform().pin_outside_interrupts()?;
        let Some(magazine) = self.magazines.of(&pin) else {
            return self.allocate_first(pin, size, attributes, caller);
        };
        let Some(area) = magazine.take(pages) else {
            drop(pin);
            return self.allocate_fast(size, attributes, caller);
        };
        let (slots, end) = self.parked_slots(area, pages);
        // Whether all are full of zeros is seen by all entries.
        if attributes.are_zeroed()
            || !publish_parked(slots, end, attributes, || Entry::guard(guard_of(pages, size, caller)))
        {
            return self.map_parked(area, size, attributes, caller);
        }
        NonNull::new(area.address as *mut u8)
    }

    /// Allocates from what the CPU's pool has, after it has made magazines for the CPU, which has none, if it may.
    #[cold]
    #[inline(never)]
    fn allocate_first(
        &self,
        pin: P::Pin,
        size: usize,
        attributes: Attributes,
        caller: Caller,
    ) -> Option<NonNull<u8>> {
        self.make_magazines(&pin);
        drop(pin);
        self.allocate_fast(size, attributes, caller)
    }

    /// Makes magazines for this CPU, and a record before that, if there is memory and they are not closed.
    pub(in crate::areas) fn make_magazines(&self, pin: &P::Pin) {
        if self.base().records.make_own::<P>(pin, self.platform()) {
            self.magazines.make::<P>(pin, self.platform());
        }
    }

    /// Returns the entries of an area of `pages` pages that was just taken, and that of the guard page behind. Builds with
    /// debug assertions see that nobody has mapped anything there.
    #[inline(always)]
    fn parked_slots<'a>(&self, area: Parked<'a>, pages: usize) -> (&'a [Slot], &'a Slot) {
        let (slots, end) = slots_of(area.leaf, area.address / PAGE_SIZE, pages);
        if cfg!(debug_assertions)
            && let Some(foreign) = slots.iter().chain([end]).find(|slot| slot.is_present())
        {
            self.blocks().report_foreign(foreign);
        }
        (slots, end)
    }

    /// Maps the pages of an area that was parked, for `size` bytes. `None`: the pages had other rights, and were retired.
    #[inline(never)]
    fn map_parked(
        &self,
        area: Parked<'_>,
        size: usize,
        attributes: Attributes,
        caller: Caller,
    ) -> Option<NonNull<u8>> {
        let pages = size.div_ceil(PAGE_SIZE);
        let (slots, end) = slots_of(area.leaf, area.address / PAGE_SIZE, pages);
        if remap(slots, attributes) != pages && !self.refit(area, pages, attributes) {
            return None;
        }
        // The guard first: who finds the first page may ask the guard whose it is.
        end.set(Entry::guard(guard_of(pages, size, caller)));
        publish_area(&slots[0], &slots[pages - 1], pages);
        NonNull::new(area.address as *mut u8)
    }

    /// Maps the pages of an area that was taken and is not as these attributes ask for. Frames that are to be full of zeros
    /// and are not known to be are filled; their entries stay dirty. `false`: the rights were others, and the area was
    /// retired.
    #[cold]
    #[inline(never)]
    fn refit(&self, area: Parked<'_>, pages: usize, attributes: Attributes) -> bool {
        let (slots, _) = slots_of(area.leaf, area.address / PAGE_SIZE, pages);
        let fits = slots.iter().all(|slot| slot.get().parked().fits(attributes));
        for slot in slots {
            let entry = slot.get().parked();
            match entry.quarantined_frame() {
                Some(frame) if fits && attributes.are_zeroed() && !entry.is_known_zero() => {
                    self.base().zero(frame)
                }
                _ => {}
            }
            let dirty = if attributes.are_zeroed() { entry } else { entry.with_dirty() };
            slot.set(if fits { dirty.mapped() } else { entry });
        }
        if !fits {
            let pin = self.platform().pin();
            self.retire_parked(&pin, pages, iter::once(area)).leave_to_caller();
        }
        fits
    }

    /// Frees the area that starts at `address`, if it is small, owns its frames, and has no guard page below. `None`:
    /// nothing was done.
    // One page of the current block apart, as above.
    #[inline(never)]
    pub fn free_hot(&self, address: usize) -> Option<Pressure> {
        let pin = self.platform().pin_outside_interrupts()?;
        let record = self.pools.record(&pin);
        match self.pools.current_page(record, Owner::Area, address) {
            Some((page, leaf)) => self.free_at(&pin, record, address, page, leaf),
            None => self.free_elsewhere(&pin, address),
        }
    }

    /// Frees an area that is not in the current block as [`free_hot`](Self::free_hot) does.
    #[inline(never)]
    fn free_elsewhere(&self, pin: &P::Pin, address: usize) -> Option<Pressure> {
        let (page, leaf) = self.pools.small_page(pin, address)?;
        self.free_at(pin, self.pools.record(pin), address, page, leaf)
    }

    /// Frees the area that starts at a page of a shared block as [`free_hot`](Self::free_hot) does.
    #[inline(always)]
    fn free_at(
        &self,
        pin: &P::Pin,
        record: Record<'_>,
        address: usize,
        page: usize,
        leaf: &Slots,
    ) -> Option<Pressure> {
        let entry = leaf[page].look();
        if entry.is_parkable()
            && entry.is_last()
            && let Some(magazine) = self.magazines.of_record(pin, record)
            && let Some(place) = magazine.place(1)
            && leaf[page].claim_parkable(entry, 1)
        {
            place.park(Parked { address, leaf });
            return Some(Pressure::Low);
        }
        match entry.pages() {
            Some(2..) => self.free_pages_at(pin, address, page, leaf, entry),
            _ => self.free_page(pin, address, page, leaf, entry),
        }
    }

    /// Frees an area of more than one page as [`free_at`](Self::free_at) does.
    #[inline(never)]
    fn free_pages_at(
        &self,
        pin: &P::Pin,
        address: usize,
        page: usize,
        leaf: &Slots,
        entry: Entry,
    ) -> Option<Pressure> {
        if entry.is_parkable()
            && let Some(pages @ 2..) = entry.pages()
            && let Some(magazine) = self.magazines.of(pin)
            && let Some(place) = magazine.place(pages)
            && leaf[page].claim_parkable(entry, pages)
        {
            // Before the rest is unmapped, which saves registers: nobody else looks there.
            place.park(Parked { address, leaf });
            let (slots, _) = slots_of(leaf, page, pages);
            toggle_rest(&slots[1..]);
            return Some(Pressure::Low);
        }
        self.free_page(pin, address, page, leaf, entry)
    }

    /// Frees the area that starts at a page of a shared block, which has this entry, as [`free_hot`](Self::free_hot) does.
    #[inline(never)]
    fn free_page(
        &self,
        pin: &P::Pin,
        address: usize,
        page: usize,
        leaf: &Slots,
        entry: Entry,
    ) -> Option<Pressure> {
        if entry.is_parkable()
            && let Some(pages) = entry.pages()
            && let Some(magazine) = self.magazines.of(pin)
            && leaf[page].claim_parkable(entry, pages)
        {
            let (slots, _) = slots_of(leaf, page, pages);
            toggle_rest(&slots[1..]);
            let area = Parked { address, leaf };
            let Some(place) = magazine.place(pages) else {
                return Some(self.overflow(pin, magazine, pages, area));
            };
            place.park(area);
            return Some(Pressure::Low);
        }
        // Who looks at each call needs more than the address.
        if self.base().is_watched() {
            return None;
        }
        let entry = leaf[page].claim(Owner::Area)?;
        let block = self.blocks().block(self.span().block_at(address), pin);
        Some(self.free_pages(pin, Claimed { block, first: page, leaf, entry }, Owner::Area, 0))
    }

    /// Makes a place for an area by retiring half of those that are parked, and parks it.
    #[inline(never)]
    fn overflow(&self, pin: &P::Pin, magazine: &Magazine, pages: usize, area: Parked<'_>) -> Pressure {
        let half = magazine.count(pages).div_ceil(2);
        let pressure = self.retire_parked(pin, pages, (0..half).map_while(|_| magazine.take(pages)));
        match magazine.place(pages) {
            Some(place) => {
                place.park(area);
                pressure
            }
            None => pressure.or(self.retire_parked(pin, pages, iter::once(area))),
        }
    }

    /// Retires areas of `pages` pages that were parked, or were to be.
    fn retire_parked<'a>(
        &self,
        pin: &P::Pin,
        pages: usize,
        mut areas: impl Iterator<Item = Parked<'a>>,
    ) -> Pressure {
        let mut pressure = Pressure::Low;
        let mut next = areas.next();
        while let Some(first) = next {
            let block = self.blocks().block(self.span().block_at(first.address), pin);
            let mut state = block.pages.lock(pin);
            let mut count = 0;
            // As many as are in one block, which is nearly always the same as that of the one before.
            while let Some(area) =
                next.filter(|area| area.address >> BLOCK_SHIFT == first.address >> BLOCK_SHIFT)
            {
                let page = page_in_block(area.address);
                area.leaf[page + pages].set_unused();
                state.make_dirty(page, pages + 1, Owner::Area);
                count += pages + 1;
                next = areas.next();
            }
            let is_unlisted = state.enlist();
            drop(state);
            pressure = pressure.or(self.pending().retired(pin, block, count, is_unlisted));
        }
        pressure
    }

    /// Takes the area that was parked last on this CPU of those with as many pages as the shape has, if it is aligned as the
    /// shape asks for, and makes it an area of this shape.
    #[inline]
    pub(super) fn take_aligned(&self, shape: &Shape<'_>) -> Option<usize> {
        let pin = self.platform().pin_outside_interrupts()?;
        let align = shape.align * PAGE_SIZE;
        let Some(magazine) = self.magazines.of(&pin) else {
            self.make_magazines(&pin);
            return None;
        };
        let area = magazine.take_if(shape.pages, |area| area.address.is_multiple_of(align))?;
        if cfg!(debug_assertions) {
            self.parked_slots(area, shape.pages);
        }
        let size = shape.pages * PAGE_SIZE - shape.guard.slack;
        let address = self.map_parked(area, size, shape.attributes, shape.guard.caller)?;
        Some(address.as_ptr() as usize)
    }

    /// Retires what these CPUs have parked, and gives the magazines back. The caller is not pinned, and gets the pressure
    /// when it next counts.
    pub fn release_magazines(&self, closed: &Closed<'_>, cpus: Range<usize>) {
        self.release_after(closed, cpus, || self.platform().synchronize());
    }

    /// Retires what is parked on all CPUs without a wait for a grace period: nobody else uses the instance any more.
    pub fn release_last_magazines(&mut self) {
        self.release_after(&self.magazines.close(), 0..MAX_CPUS, || true);
    }

    fn release_after(&self, closed: &Closed<'_>, cpus: Range<usize>, synchronize: impl Fn() -> bool) {
        self.magazines.release(closed, cpus, self.platform(), synchronize, |pin, magazine| {
            self.give_ram(pin, &magazine.ram);
            for pages in 1..=CLASSES {
                self.retire_parked(pin, pages, iter::from_fn(|| magazine.take(pages))).leave_to_caller();
            }
        });
    }
}
