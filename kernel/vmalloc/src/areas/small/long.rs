//! The fast path of areas that are longer than [`CLASSES`](crate::magazines::CLASSES) pages.
//!
//! Their first entry does not tell how long they are. So a free reads that from the next two, once the area
//! is claimed and nobody else can free it. A free that finds too many pages parked first retires some of
//! those areas; one that finds no place among areas of its size retires its own.

use super::{Claimed, parked::slots_at};
use crate::{
    PAGE_SIZE, Platform,
    areas::Areas,
    magazines::{LONGEST, Long, Parked},
    page_table::{Attributes, Entry, Slots, publish_parked, toggle, told_rest},
    pending::Pressure,
    percpu::Record,
    span::page_in_block,
    types::{Caller, Owner},
};
use core::{iter, ptr::NonNull};

/// Bytes of the largest areas that are parked.
const MOST_PARKED: usize = LONGEST * PAGE_SIZE;

impl<P: Platform> Areas<P> {
    /// Allocates more pages than [`CLASSES`](crate::magazines::CLASSES), or none, as [`allocate_hot`](Self::allocate_hot) does.
    #[inline(never)]
    pub(super) fn allocate_long(
        &self,
        size: usize,
        attributes: Attributes,
        caller: Caller,
    ) -> Option<NonNull<u8>> {
        let last = size.wrapping_sub(1);
        if last >= MOST_PARKED {
            return self.allocate_fast(size, attributes, caller);
        }
        let pin = self.platform().pin_outside_interrupts()?;
        let magazine = self.magazines.here(&pin);
        let Some(area) = magazine.long().take(last / PAGE_SIZE + 1) else {
            if magazine.are_none() {
                return self.allocate_first(size, attributes, caller, pin);
            }
            drop(pin);
            return self.allocate_fast(size, attributes, caller);
        };
        let (address, (slots, end)) = (area.address, self.parked_slots(area));
        let is_as_asked = !attributes.are_zeroed()
            && publish_parked(slots, end, attributes, || Entry::guard(self.guard_of(size, caller)));
        if is_as_asked || self.map_parked(area, size, attributes, caller) {
            return NonNull::new(address as *mut u8);
        }
        drop(pin);
        self.refit(address, size, attributes, caller)
    }

    /// Frees an area of more pages than [`CLASSES`](crate::magazines::CLASSES), which can be parked, as [`free_at`](Self::free_at) does.
    #[inline(never)]
    pub(super) fn free_long(
        &self,
        address: usize,
        pin: P::Pin,
        record: Record<'_>,
        leaf: &Slots,
        entry: Entry,
    ) -> Option<Pressure> {
        let first = page_in_block(address);
        if self.base().is_watched() || !leaf[first].claim_parkable(entry) {
            return self.free_page(address, pin, leaf, entry);
        }
        // Read now that nobody else can free it.
        let pages = told_rest(entry, &leaf[first + 1..]).map(|rest| rest + 1);
        let long = self.magazines.of_record(&pin, record).long();
        if let Some(pages) = pages.filter(|&pages| long.may_park(pages))
            && let Some(slots) = slots_at(leaf, address, pages)
        {
            toggle(&slots[1..pages]);
            return Some(self.park_long(&pin, long, Parked { address, slots }));
        }
        leaf[first].change(Entry::unmarked);
        let block = self.blocks().block(self.span().block_at(address), &pin);
        Some(self.free_pages(&pin, Claimed { block, first, leaf, entry }, Owner::Area, 0))
    }

    /// Parks an area which may be; others make room for it if they have to.
    #[inline(always)]
    fn park_long(&self, pin: &P::Pin, long: &Long, area: Parked<'_>) -> Pressure {
        match long.place(area) {
            Some(place) => {
                place.park();
                Pressure::Low
            }
            None => self.make_room(pin, long, area),
        }
    }

    /// Parks an area after it has retired as many others as it takes.
    #[cold]
    #[inline(never)]
    fn make_room(&self, pin: &P::Pin, long: &Long, area: Parked<'_>) -> Pressure {
        let mut pressure = Pressure::Low;
        // Ends: there are fewer areas each time.
        while let Some(other) = long.take_any() {
            pressure = pressure.or(self.retire_parked(pin, iter::once(other)));
            if let Some(place) = long.place(area) {
                place.park();
                return pressure;
            }
        }
        pressure.or(self.retire_parked(pin, iter::once(area)))
    }
}
