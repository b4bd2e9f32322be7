//! What the fast paths of small areas have in common: making magazines and giving them back; mapping parked
//! areas again, or retiring them.

use crate::{
    BLOCK_SHIFT, MAX_CPUS, PAGE_SIZE, Platform,
    areas::{Areas, Shape},
    magazines::{CLASSES, Closed, Parked},
    page_table::{Attributes, Entry, Slot, Slots, mark_length, publish_area, remap, unmark_parked},
    pending::Pressure,
    span::page_in_block,
    types::{Caller, Owner},
};
use core::{iter, ops::Range, ptr::NonNull};

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
pub(super) fn slots_at(leaf: &Slots, address: usize, pages: usize) -> Option<&[Slot]> {
    let page = page_in_block(address);
    leaf.get(page..page + pages + 1)
}

impl<P: Platform> Areas<P> {
    /// Makes magazines for this CPU, and a record before that, if there is memory and they are not closed.
    pub(in crate::areas) fn make_magazines(&self, pin: &P::Pin) {
        if self.base().records.make_own::<P>(pin, self.platform()) {
            self.magazines.make::<P>(pin, self.platform());
        }
    }

    /// Returns the entries of an area that was just taken, and that of the guard page behind. Builds with debug assertions
    /// see that nobody has mapped anything there.
    #[inline(always)]
    pub(super) fn parked_slots<'a>(&self, area: Parked<'a>) -> (&'a [Slot], &'a Slot) {
        if cfg!(debug_assertions)
            && let Some(foreign) = area.slots.iter().find(|slot| slot.is_present())
        {
            self.blocks().report_foreign(foreign);
        }
        split(area)
    }

    /// Maps the pages of an area that was taken, for `size` bytes, if it is as these attributes ask for. `false`: it is not, and
    /// some of its pages are mapped; it is to be [refitted](Self::refit).
    #[inline(always)]
    pub(super) fn map_parked(
        &self,
        area: Parked<'_>,
        size: usize,
        attributes: Attributes,
        caller: Caller,
    ) -> bool {
        let (pages, end) = split(area);
        unmark_parked(pages, end);
        let is_mapped = remap(pages, attributes) == pages.len();
        if is_mapped {
            self.publish_mapped(area, size, caller);
        }
        is_mapped
    }

    /// Publishes an area that was taken, for `size` bytes, and whose pages are mapped.
    #[inline(always)]
    fn publish_mapped(&self, area: Parked<'_>, size: usize, caller: Caller) {
        let (pages, end) = split(area);
        // The guard first: who finds the first page may ask the guard whose it is.
        end.set(Entry::guard(self.guard_of(size, caller)));
        mark_length(pages);
        publish_area(&pages[0], &pages[pages.len() - 1], pages.len());
    }

    /// Maps the pages of an area that was taken, starts at `address`, and is not as these attributes ask for. Frames that are to
    /// be full of zeros and are not known to be are filled; their entries stay dirty. `None`: the rights were others, and the
    /// area was retired. The caller is not pinned, because to fill pages takes long.
    #[cold]
    #[inline(never)]
    pub(super) fn refit(
        &self,
        address: usize,
        size: usize,
        attributes: Attributes,
        caller: Caller,
    ) -> Option<NonNull<u8>> {
        let leaf = self.blocks().leaf_of(self.span().block_at(address));
        let area = Parked { address, slots: slots_at(leaf, address, size.div_ceil(PAGE_SIZE))? };
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
        if fits {
            self.publish_mapped(area, size, caller);
            return NonNull::new(address as *mut u8);
        }
        let pin = self.platform().pin();
        self.retire_parked(&pin, iter::once(area)).leave_to_caller();
        None
    }

    /// Takes the area that was parked last on this CPU of those with as many pages as the shape has, if it is aligned as the
    /// shape asks for, and makes it an area of this shape.
    #[inline]
    pub(in crate::areas) fn take_aligned(&self, shape: &Shape<'_>) -> Option<usize> {
        let pin = self.platform().pin_outside_interrupts()?;
        let align = shape.align * PAGE_SIZE;
        let Some(magazine) = self.magazines.of(&pin) else {
            self.make_magazines(&pin);
            return None;
        };
        let is_aligned = |area: &Parked<'_>| area.address.is_multiple_of(align);
        let area = match magazine.last(shape.pages) {
            Some(last) => Some(last).filter(|last| is_aligned(&last.area))?.take(),
            None => magazine.long().take_if(shape.pages, is_aligned)?,
        };
        let (address, _) = (area.address, self.parked_slots(area));
        let size = shape.pages * PAGE_SIZE - shape.guard.slack;
        if !self.map_parked(area, size, shape.attributes, shape.guard.caller) {
            drop(pin);
            self.refit(address, size, shape.attributes, shape.guard.caller)?;
        }
        Some(address)
    }

    /// Retires areas that were parked, or were to be.
    pub(super) fn retire_parked<'a>(
        &self,
        pin: &P::Pin,
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
                let (pages, end) = split(area);
                unmark_parked(pages, end);
                state.make_dirty(page_in_block(area.address), pages.len() + 1, Owner::Area);
                count += pages.len() + 1;
                next = areas.next();
            }
            self.pending().enlist(pin, block, &mut state);
            drop(state);
            pressure = pressure.or(self.pending().count(pin, count));
        }
        pressure
    }

    /// Retires what these CPUs have parked, and gives the magazines back. The caller is not pinned, and gets the pressure
    /// when it next counts. Returns whether it could wait for the grace periods that this takes: what others have parked stays
    /// where it could not.
    pub fn release_magazines(&self, closed: &Closed<'_>, cpus: Range<usize>) -> bool {
        self.release_after(closed, cpus, || self.platform().synchronize())
    }

    /// Retires what is parked on all CPUs without a wait for a grace period: nobody else uses the instance any more.
    pub fn release_last_magazines(&mut self) {
        self.release_after(&self.magazines.close(), 0..MAX_CPUS, || true);
    }

    fn release_after(&self, closed: &Closed<'_>, cpus: Range<usize>, synchronize: impl Fn() -> bool) -> bool {
        // Many pins: preemption is not off while all that one CPU has parked is retired.
        let pin = || self.platform().pin();
        self.magazines.release(closed, cpus, self.platform(), synchronize, |magazine| {
            self.give_ram(&pin(), &magazine.ram);
            for pages in 1..=CLASSES {
                self.retire_parked(&pin(), iter::from_fn(|| magazine.take(pages))).leave_to_caller();
            }
            while let Some(area) = magazine.long().take_any() {
                self.retire_parked(&pin(), iter::once(area)).leave_to_caller();
            }
        })
    }
}
