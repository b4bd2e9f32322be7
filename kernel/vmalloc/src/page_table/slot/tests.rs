//! Entries are changed together wherever they can be. Where they are not, a slower way does the same, and only these tests
//! would tell.

extern crate std;

use super::*;
use crate::{
    Kind, Protection,
    page_table::{GuardInfo, unmap_rest},
    types::area::birth::Birth,
};
use core::panic::Location;
use std::vec::Vec;

fn attributes(protection: Protection) -> Attributes {
    Attributes::new(protection, Owner::Area)
}

fn guard() -> Entry {
    let made = Birth::of(7);
    Entry::guard(GuardInfo { slack: 0, kind: Kind::Vmalloc, caller: Location::caller(), made })
}

fn slot(entry: Entry) -> Slot {
    let slot = Slot::unused();
    slot.set(entry);
    slot
}

/// An area of so many pages with its guard: the slots of its pages, and that behind them.
fn area(pages: usize) -> Vec<Slot> {
    let entry = |page: usize| Entry::page(Frame::new(100 + page as u64), attributes(Protection::ReadWrite));
    let slots: Vec<Slot> = (0..pages).map(|page| slot(entry(page))).chain([slot(guard())]).collect();
    publish_area(&slots[0], &slots[pages - 1], pages);
    slots
}

/// Seen failing with a `claim` that gets no area, and with one that gets any.
#[test]
fn an_area_is_claimed_once_and_by_its_owner() {
    let slots = area(2);
    assert!(slots[1].claim(Owner::Area).is_none(), "no area starts there");
    assert!(slots[0].claim(Owner::Caller).is_none(), "it owns its frames");
    let entry = slots[0].claim(Owner::Area).expect("it starts there");
    assert!(entry.is_first() && !slots[0].is_present());
    assert!(slots[0].claim(Owner::Area).is_none(), "it is gone");
}

/// Seen failing with a `publish_parked` and a `remap` that do nothing.
#[test]
fn pages_are_mapped_again_as_they_were_and_not_as_others() {
    for pages in (1..40).chain([100, 511]) {
        let slots = area(pages);
        let (mapped, end) = (&slots[..pages], &slots[pages]);
        let before: Vec<Entry> = mapped.iter().map(Slot::get).collect();
        // As an area that is parked: with its marks.
        toggle(mapped);
        end.set_unused();
        let other = attributes(Protection::ReadOnly);
        assert!(!publish_parked(mapped, end, other, guard));
        assert!(!slots[0].is_present() && end.is_unused(), "nothing has changed");
        assert!(publish_parked(mapped, end, attributes(Protection::ReadWrite), guard));
        assert!(mapped.iter().map(Slot::get).eq(before) && end.get().is_guard());
        // As an area that is freed: without marks.
        let entry = slots[0].claim(Owner::Area).expect("it starts there");
        assert_eq!(unmap_rest(entry, &slots[1..]), pages - 1);
        assert_eq!(remap(mapped, other), 0);
        assert_eq!(remap(mapped, attributes(Protection::ReadWrite)), pages);
        assert!(mapped.iter().all(|slot| slot.is_present() && !slot.get().is_first()));
        // Up to one that was mapped otherwise.
        mapped.iter().for_each(Slot::unmap);
        mapped[pages / 2].set(Entry::page(Frame::new(7), other).quarantined());
        assert_eq!(remap(mapped, attributes(Protection::ReadWrite)), pages / 2);
    }
}

/// Seen failing with a `publish_page` that does nothing.
#[test]
fn a_page_that_was_unmapped_is_an_area_again() {
    let slots = area(1);
    slots[0].claim(Owner::Area).expect("it starts there");
    slots[1].set_unused();
    assert!(!publish_page(&slots[0], &slots[1], attributes(Protection::ReadOnly), guard));
    assert!(publish_page(&slots[0], &slots[1], attributes(Protection::ReadWrite), guard));
    let entry = slots[0].get();
    assert!(entry.is_first() && entry.is_last() && slots[1].get().is_guard());
}

/// Seen failing with the bits of one entry instead of those in which it differs.
#[test]
fn entries_differ_in_what_any_of_them_has_otherwise() {
    let slots: [Slot; TOGETHER] = core::array::from_fn(|_| slot(Entry(0b1100)));
    assert_eq!((differences(&slots, 0b1100), differences(&slots, 0b1010)), (0, 0b0110));
    slots[TOGETHER - 1].set(Entry(0b1101));
    assert_eq!(differences(&slots, 0b1100), 1);
}
