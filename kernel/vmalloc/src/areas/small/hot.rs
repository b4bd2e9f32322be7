//! The fast path: areas that are parked in the CPU's magazines.
//!
//! An allocation that finds none goes on to the CPU's pool. A free that finds no place retires the half of its magazine that
//! was parked last, and parks the area then: several pages under one hold of a block's lock. The module `magazines` tells
//! why an area that is taken again needs no flush.

use super::Claimed;
use crate::{
    BLOCK_SHIFT, MAX_CPUS, PAGE_SIZE, Platform,
    areas::{Areas, Shape},
    magazines::{CLASSES, Closed, Magazine, Parked},
    page_table::{
        Attributes, Entry, Slot, Slots, publish_area, publish_parked, remap, toggle, unmark_parked,
    },
    pending::Pressure,
    percpu::Record,
    span::page_in_block,
    types::{Caller, Owner},
};
use core::{iter, ops::Range, ptr::NonNull};

/// Bytes of the largest areas that are parked.
const MOST_PARKED: usize = CLASSES * PAGE_SIZE;

/// Returns the entries of the pages of a parked area, and that of the guard page behind.
#[inline(always)]
fn split(area: Parked<'_>) -> (&[Slot], &Slot) {
    match area.slots.split_last() {
        Some((end, pages)) => (pages, end),
        None => unreachable!("an area has a guard page"),
    }
}

/// Returns the entries of an area of `pages` pages that starts at `address`, and that of the guard page behind.
#[inline(always)]
fn slots_at(leaf: &Slots, address: usize, pages: usize) -> Option<&[Slot]> {
    let page = page_in_block(address);
    leaf.get(page..page + pages + 1)
}

impl<P: Platform> Areas<P> {
    /// Allocates an area of its own frames, aligned to a page, from what this CPU has. `None`: it is not to be had so.
    // One page apart: it calls nothing, so that no register is saved.
    #[inline(never)]
    pub fn allocate_hot(&self, size: usize, attributes: Attributes, caller: Caller) -> Option<NonNull<u8>> {
        if size.wrapping_sub(1) >= PAGE_SIZE {
            return self.allocate_pages(size, attributes, caller);
        }
        let pin = self.platform().pin_outside_interrupts()?;
        let magazine = self.magazines.here(&pin);
        let Some(last) = magazine.last(1) else {
            if magazine.are_none() {
                return self.allocate_first(size, attributes, caller, pin);
            }
            drop(pin);
            return self.allocate_fast(size, attributes, caller);
        };
        let (slots, end) = self.parked_slots(last.area);
        if !publish_parked(slots, end, attributes, || Entry::guard(self.guard_of(size, caller))) {
            drop(pin);
            return self.allocate_unlike(size, attributes, caller);
        }
        NonNull::new(last.take().address as *mut u8)
    }

    /// Allocates more or less than a page as [`allocate_hot`](Self::allocate_hot) does.
    #[inline(never)]
    fn allocate_pages(&self, size: usize, attributes: Attributes, caller: Caller) -> Option<NonNull<u8>> {
        let last = size.wrapping_sub(1);
        if last >= MOST_PARKED {
            return self.allocate_fast(size, attributes, caller);
        }
        let pages = last / PAGE_SIZE + 1;
        let pin = self.platform().pin_outside_interrupts()?;
        let magazine = self.magazines.here(&pin);
        let Some(last) = magazine.last(pages) else {
            if magazine.are_none() {
                return self.allocate_first(size, attributes, caller, pin);
            }
            drop(pin);
            return self.allocate_fast(size, attributes, caller);
        };
        let (slots, end) = self.parked_slots(last.area);
        // Whether all are full of zeros is seen by all entries.
        if attributes.are_zeroed()
            || !publish_parked(slots, end, attributes, || Entry::guard(self.guard_of(size, caller)))
        {
            drop(pin);
            return self.allocate_unlike(size, attributes, caller);
        }
        NonNull::new(last.take().address as *mut u8)
    }

    /// Allocates as [`allocate_hot`](Self::allocate_hot) does, where what is parked is not as these attributes ask for.
    #[cold]
    #[inline(never)]
    fn allocate_unlike(&self, size: usize, attributes: Attributes, caller: Caller) -> Option<NonNull<u8>> {
        let pin = self.platform().pin_outside_interrupts()?;
        let parked = self.magazines.of(&pin).and_then(|magazine| magazine.take(size.div_ceil(PAGE_SIZE)));
        match parked {
            Some(area) => self.map_parked(area, size, attributes, caller),
            None => {
                drop(pin);
                self.allocate_fast(size, attributes, caller)
            }
        }
    }

    /// Allocates from what the CPU's pool has, after it has made magazines for the CPU, which has none, if it may.
    #[cold]
    #[inline(never)]
    fn allocate_first(
        &self,
        size: usize,
        attributes: Attributes,
        caller: Caller,
        pin: P::Pin,
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

    /// Returns the entries of an area that was just taken, and that of the guard page behind. Builds with debug assertions
    /// see that nobody has mapped anything there.
    #[inline(always)]
    fn parked_slots<'a>(&self, area: Parked<'a>) -> (&'a [Slot], &'a Slot) {
        if cfg!(debug_assertions)
            && let Some(foreign) = area.slots.iter().find(|slot| slot.is_present())
        {
            self.blocks().report_foreign(foreign);
        }
        split(area)
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
        let (pages, end) = split(area);
        unmark_parked(pages, end);
        if remap(pages, attributes) != pages.len() && !self.refit(area, attributes) {
            return None;
        }
        // The guard first: who finds the first page may ask the guard whose it is.
        end.set(Entry::guard(self.guard_of(size, caller)));
        publish_area(&pages[0], &pages[pages.len() - 1], pages.len());
        NonNull::new(area.address as *mut u8)
    }

    /// Maps the pages of an area that was taken and is not as these attributes ask for. Frames that are to be full of zeros
    /// and are not known to be are filled; their entries stay dirty. `false`: the rights were others, and the area was
    /// retired.
    #[cold]
    #[inline(never)]
    fn refit(&self, area: Parked<'_>, attributes: Attributes) -> bool {
        let (pages, _) = split(area);
        let fits = pages.iter().all(|slot| slot.get().parked().fits(attributes));
        for slot in pages {
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
            self.retire_parked(&pin, iter::once(area)).leave_to_caller();
        }
        fits
    }

    /// Frees the area that starts at `address`, if it is small, owns its frames, and has no guard page below. `None`:
    /// nothing was done.
    // One page of the current block apart, as above. The pin is handed on, so that each call is the last thing that its
    // caller does.
    #[inline(never)]
    pub fn free_hot(&self, address: usize) -> Option<Pressure> {
        let pin = self.platform().pin_outside_interrupts()?;
        let record = self.pools.record(&pin);
        match self.pools.near_page(record, Owner::Area, address) {
            Some((page, leaf)) => self.free_at(address, pin, record, page, leaf),
            None => self.free_elsewhere(address, pin),
        }
    }

    /// Frees an area that is not in the current block as [`free_hot`](Self::free_hot) does.
    #[inline(never)]
    fn free_elsewhere(&self, address: usize, pin: P::Pin) -> Option<Pressure> {
        let (page, leaf) = self.pools.small_page(&pin, address)?;
        let record = self.pools.record(&pin);
        self.free_at(address, pin, record, page, leaf)
    }

    /// Frees the area that starts at a page of a shared block as [`free_hot`](Self::free_hot) does.
    #[inline(always)]
    fn free_at(
        &self,
        address: usize,
        pin: P::Pin,
        record: Record<'_>,
        page: usize,
        leaf: &Slots,
    ) -> Option<Pressure> {
        let entry = leaf[page].look();
        if entry.is_parkable() {
            if !entry.is_last() {
                return self.free_pages_at(address, pin, record, leaf, entry);
            }
            if let Some(slots) = leaf.get(page..page + 2)
                && let magazine = self.magazines.of_record(&pin, record)
                && let Some(place) = magazine.place(1, Parked { address, slots })
                && slots[0].claim_parkable(entry)
            {
                place.park();
                return Some(Pressure::Low);
            }
        }
        self.free_page(address, pin, leaf, entry)
    }

    /// Frees an area of more than one page, which can be parked, as [`free_at`](Self::free_at) does.
    #[inline(never)]
    fn free_pages_at(
        &self,
        address: usize,
        pin: P::Pin,
        record: Record<'_>,
        leaf: &Slots,
        entry: Entry,
    ) -> Option<Pressure> {
        if let Some(pages @ 2..) = entry.pages()
            && let Some(slots) = slots_at(leaf, address, pages)
            && let magazine = self.magazines.of_record(&pin, record)
            && let Some(place) = magazine.place(pages, Parked { address, slots })
            && slots[0].claim_parkable(entry)
        {
            // Before the rest is unmapped, which saves registers: nobody else looks there.
            place.park();
            toggle(&slots[1..pages]);
            return Some(Pressure::Low);
        }
        self.free_page(address, pin, leaf, entry)
    }

    /// Frees the area that starts at `address` in a shared block, and has this first entry, as [`free_hot`](Self::free_hot)
    /// does.
    #[inline(never)]
    fn free_page(&self, address: usize, pin: P::Pin, leaf: &Slots, entry: Entry) -> Option<Pressure> {
        if entry.is_parkable()
            && let Some(pages) = entry.pages()
            && let Some(slots) = slots_at(leaf, address, pages)
            && let Some(magazine) = self.magazines.of(&pin)
            && slots[0].claim_parkable(entry)
        {
            toggle(&slots[1..slots.len() - 1]);
            let area = Parked { address, slots };
            let Some(place) = magazine.place(pages, area) else {
                return Some(self.overflow(&pin, magazine, area));
            };
            place.park();
            return Some(Pressure::Low);
        }
        // Who looks at each call needs more than the address.
        if self.base().is_watched() {
            return None;
        }
        let first = page_in_block(address);
        let entry = leaf[first].claim(Owner::Area)?;
        let block = self.blocks().block(self.span().block_at(address), &pin);
        Some(self.free_pages(&pin, Claimed { block, first, leaf, entry }, Owner::Area, 0))
    }

    /// Makes a place for an area by retiring half of those that are parked, and parks it.
    #[inline(never)]
    fn overflow(&self, pin: &P::Pin, magazine: &Magazine, area: Parked<'_>) -> Pressure {
        let pages = area.slots.len() - 1;
        let half = magazine.count(pages).div_ceil(2);
        let pressure = self.retire_parked(pin, (0..half).map_while(|_| magazine.take(pages)));
        match magazine.place(pages, area) {
            Some(place) => {
                place.park();
                pressure
            }
            None => pressure.or(self.retire_parked(pin, iter::once(area))),
        }
    }

    /// Retires areas that were parked, or were to be.
    fn retire_parked<'a>(&self, pin: &P::Pin, mut areas: impl Iterator<Item = Parked<'a>>) -> Pressure {
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
                let (pages, end) = split(area);
                unmark_parked(pages, end);
                state.make_dirty(page_in_block(area.address), pages.len() + 1, Owner::Area);
                count += pages.len() + 1;
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
        let last = magazine.last(shape.pages).filter(|last| last.area.address.is_multiple_of(align))?;
        if cfg!(debug_assertions) {
            self.parked_slots(last.area);
        }
        let size = shape.pages * PAGE_SIZE - shape.guard.slack;
        let address = self.map_parked(last.take(), size, shape.attributes, shape.guard.caller)?;
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
                self.retire_parked(pin, iter::from_fn(|| magazine.take(pages))).leave_to_caller();
            }
        });
    }
}
