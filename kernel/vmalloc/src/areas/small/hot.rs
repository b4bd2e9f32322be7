//! The fast path: areas that are parked in the CPU's magazines.
//!
//! An allocation that finds none goes on to the CPU's pool. A free that finds no place first retires the half of its
//! magazine that was parked last: several pages under one hold of a block's lock. `magazines` explains why an area
//! that is taken again needs no flush. Areas of up to [`CLASSES`] pages are handled here, longer ones in `long`.

use super::{Claimed, parked::slots_at};
use crate::{
    PAGE_SIZE, Platform,
    areas::Areas,
    magazines::{CLASSES, Magazine, Parked},
    page_table::{Attributes, Entry, Slots, publish_parked, toggle},
    pending::Pressure,
    percpu::Record,
    span::page_in_block,
    types::{Caller, Owner},
};
use core::{iter, ptr::NonNull};

/// Bytes of the largest areas that have a class in the magazines.
const MOST_IN_CLASSES: usize = CLASSES * PAGE_SIZE;

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
        if last >= MOST_IN_CLASSES {
            return self.allocate_long(size, attributes, caller);
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
        let Some(area) = parked else {
            drop(pin);
            return self.allocate_fast(size, attributes, caller);
        };
        let address = area.address;
        if self.map_parked(area, size, attributes, caller) {
            return NonNull::new(address as *mut u8);
        }
        drop(pin);
        self.refit(address, size, attributes, caller)
    }

    /// Allocates from what the CPU's pool has, after it has made magazines for the CPU, which has none, if it may.
    #[cold]
    #[inline(never)]
    pub(super) fn allocate_first(
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
        let Some(pages @ 2..) = entry.pages() else {
            return self.free_long(address, pin, record, leaf, entry);
        };
        if let Some(slots) = slots_at(leaf, address, pages)
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
    pub(super) fn free_page(
        &self,
        address: usize,
        pin: P::Pin,
        leaf: &Slots,
        entry: Entry,
    ) -> Option<Pressure> {
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
}
