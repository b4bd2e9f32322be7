//! What entries carry comes back out of them.

extern crate std;

use super::*;
use crate::{Cache, Kind, types::area::birth::Birth};
use core::panic::Location;
use std::vec;

fn owned(number: u64) -> Entry {
    Entry::page(Frame::new(number), Attributes::new(Protection::ReadWrite, Owner::Area))
}

#[test]
fn a_guard_tells_what_it_was_told() {
    let caller = Location::caller();
    for (slack, kind) in [
        (0, Kind::Vmalloc),
        (1, Kind::Vmap),
        (4095, Kind::Vmalloc),
        (2 * 4095, Kind::Ioremap),
        (7, Kind::Congruent),
    ] {
        let made = Birth::of(slack as u64 * 1_000_003);
        let entry = Entry::guard(GuardInfo { slack, kind, caller, made }).with_filled_slack();
        assert!(!entry.is_present() && entry.is_guard() && entry.quarantined_frame().is_none());
        let info = entry.guard_info().expect("is a guard");
        assert_eq!((info.slack, info.kind, info.made), (slack, kind, made));
        assert!(core::ptr::eq(info.caller, caller));
    }
}

/// Of a caller in a kernel's image, 3 MiB from the lower end of the last 2 GiB: what a CPU takes for a frame's address is past
/// 16 TiB.
///
/// Seen failing with the caller's address as it is.
#[test]
fn a_guard_is_no_frames_address() {
    let (low, caller) = (0x8030_0000_u64, Location::caller());
    let guard = Entry::guard(GuardInfo { slack: 0, kind: Kind::Vmalloc, caller, made: Birth::of(0) });
    let others = core::ptr::from_ref(caller) as u64 ^ low;
    let moved = guard.0 ^ (others >> 3 & CALLER_MASK) << CALLER_SHIFT;
    assert!(moved & FRAME_MASK & ((1 << 46) - 1) >= 1 << 44, "{moved:#x}");
}

/// Seen failing without the assertion.
#[test]
#[should_panic(expected = "promise 10 of Platform")]
fn a_caller_that_is_far_from_the_library_is_named() {
    // So many that they do not lie on the heap, which may be near.
    let far = vec![*Location::caller(); 1 << 20].leak();
    Entry::guard(GuardInfo { slack: 0, kind: Kind::Vmalloc, caller: &far[0], made: Birth::of(0) });
}

#[test]
fn quarantine_keeps_the_frame_and_hides_it() {
    for number in [0, 1, 0x12345, (1 << 40) - 1] {
        let mapped = owned(number).with_first(1);
        assert_eq!(mapped.frame().number(), number);
        assert!(mapped.is_present() && mapped.is_first() && !mapped.is_last());
        assert!(mapped.quarantined_frame().is_none(), "it does not wait");
        let entry = mapped.quarantined();
        assert!(!entry.is_present() && !entry.is_guard() && !entry.is_first());
        assert_eq!(entry.quarantined_frame(), Some(Frame::new(number)));
        assert_eq!(entry.0 & FRAME_MASK, !(number << 12) & FRAME_MASK, "stored inverted");
    }
}

/// Seen failing with guards marked by bit 62 alone, which an address of the upper half has; and with any address.
#[test]
fn where_a_parked_area_starts_is_no_frames_address() {
    for address in [0x4444_4444_0000, 0x7fff_ffff_f000, 0xffff_8000_0000_0000, 0xffff_c900_1234_5000] {
        let entry = Entry::behind_parked(address);
        assert_eq!(entry.parked_address(), address);
        assert!(!entry.is_present() && !entry.is_guard() && !entry.is_hidden() && !entry.is_unused());
        assert!(entry.quarantined_frame().is_none() && entry != Entry::GUARD_BELOW);
        assert!(entry.0 & FRAME_MASK >= 1 << 46, "{:#x}", entry.0);
    }
    assert!(![PAGE_SIZE, 0x4000_0000, (1 << 46) - PAGE_SIZE].into_iter().any(Entry::can_be_parked_at));
}

/// Seen failing with entries that map as nothing, and with those that map as anything.
#[test]
fn an_entry_maps_as_it_was_made_whatever_its_frame_and_ends() {
    let all = [Protection::ReadWrite, Protection::ReadOnly, Protection::ReadExecute]
        .map(|protection| Attributes::new(protection, Owner::Area));
    for (made, asked) in all.iter().flat_map(|made| all.iter().map(move |asked| (*made, *asked))) {
        for frame in [0, 1, 0x12345, (1 << 40) - 1].map(Frame::new) {
            let entry = Entry::page(frame, made);
            let again = entry.quarantined().mapped_as(asked);
            assert_eq!(again, (made == asked).then_some(entry));
            for entry in [entry, entry.with_first(1).with_last(), entry.with_first(9), entry.with_digit(5)] {
                assert_eq!(entry.maps_as(asked), made == asked, "{entry:?}");
                assert!(!entry.toggled().maps_as(asked));
            }
        }
    }
}

#[test]
fn an_unused_entry_is_nothing_else() {
    let entry = Entry::UNUSED;
    assert!(entry.is_unused() && !entry.is_present() && !entry.is_guard());
    assert!(entry.quarantined_frame().is_none() && entry.guard_info().is_none());
}

#[test]
fn a_hidden_page_is_nothing_but_hidden() {
    for entry in [owned(5), owned(5).with_first(7).with_guard_below(), owned((1 << 40) - 1).with_last()] {
        let hidden = entry.hidden();
        assert!(hidden.is_hidden() && hidden.shown() == entry && hidden.hidden() == hidden);
        assert!(!hidden.is_present() && !hidden.is_guard() && !hidden.is_unused() && !hidden.is_first());
        assert!(hidden.quarantined_frame().is_none() && !hidden.hides());
        assert_eq!(hidden.0 & FRAME_MASK, !entry.0 & FRAME_MASK, "stored inverted");
        assert_eq!(hidden.protected(Protection::ReadOnly), entry.protected(Protection::ReadOnly));
        assert_eq!(entry.protected(Protection::None), hidden);
    }
    let caller = Location::caller();
    for slack in 0..4096 {
        let guard =
            Entry::guard(GuardInfo { slack, kind: Kind::Vmalloc, caller, made: Birth::of(slack as u64) });
        assert!(!guard.is_hidden() && guard.shown() == guard);
    }
    let others = [Entry::UNUSED, Entry::GUARD_BELOW, owned(5), owned(5).quarantined()];
    assert!(others.iter().all(|entry| !entry.is_hidden() && entry.shown() == *entry));
}

#[test]
fn nothing_is_writable_and_executable_nor_global() {
    for protection in [Protection::ReadWrite, Protection::ReadOnly, Protection::ReadExecute] {
        for owner in [Owner::Area, Owner::Caller] {
            let attributes = Attributes::new(protection, owner);
            for entry in [Entry::page(Frame::new(5), attributes), Entry::huge(Frame::new(512), attributes)] {
                assert!(entry.0 & WRITABLE == 0 || entry.0 & NO_EXECUTE != 0);
                assert_eq!(entry.0 & (1 << 8), 0, "a CR3 write must drop it");
                assert_eq!(entry.protected(Protection::ReadOnly).0 & (WRITABLE | NO_EXECUTE), NO_EXECUTE);
            }
        }
    }
}

#[test]
fn a_quarantined_page_of_somebody_else_gives_no_frame() {
    let entry = Entry::page(Frame::new(9), Attributes::new(Protection::ReadWrite, Owner::Caller));
    assert!(!entry.is_owned() && !entry.quarantined().is_present() && !entry.quarantined().is_unused());
    assert!(entry.quarantined().quarantined_frame().is_none());
}

#[test]
fn a_huge_entry_splits_into_its_small_pages() {
    let attributes = Attributes::new(Protection::ReadOnly, Owner::Area);
    let huge = Entry::huge(Frame::new(1024), attributes).with_first(512).with_last().hiding();
    for page in 0..512 {
        let small = huge.small_page(page);
        assert!(small.is_owned() && !small.is_huge());
        assert_eq!(small.frame().number(), 1024 + page as u64);
        assert_eq!((small.is_first(), small.is_last()), (page == 0, page == 511));
        assert_eq!((small.hides(), small.is_changed()), (page == 0, page == 0));
    }
}

/// Tables as at reset, as Linux and the Limine loader write them, and such as lack something.
#[test]
fn a_memory_type_is_found_in_the_table() {
    const CACHES: [Cache; 4] =
        [Cache::WriteBack, Cache::WriteThrough, Cache::WriteCombining, Cache::Uncached];
    for (pat, entries) in [
        (0x0007_0406_0007_0406, [Some(0), Some(1), Some(2), Some(3)]),
        (0x0407_0506_0007_0106, [Some(0), Some(7), Some(1), Some(3)]),
        (0x0007_0105_0007_0406, [Some(0), Some(1), Some(5), Some(3)]),
        (0x0606_0606_0606_0706, [Some(0), Some(1), Some(1), Some(1)]),
        (0x0606_0606_0606_0406, [Some(0), Some(1), None, None]),
    ] {
        for (cache, entry) in CACHES.into_iter().zip(entries) {
            let small =
                Attributes::of_device(cache, pat).map(|attributes| Entry::page(Frame::new(9), attributes));
            let number = |entry: Entry, pat: u32| {
                (entry.0 >> pat & 1) << 2 | (entry.0 >> 4 & 1) << 1 | entry.0 >> 3 & 1
            };
            assert_eq!(small.map(|small| number(small, 7)), entry, "{cache:?} of {pat:#x}");
        }
    }
}

#[test]
fn a_huge_entry_has_the_memory_type_elsewhere() {
    for cache in [Cache::WriteBack, Cache::WriteThrough, Cache::WriteCombining, Cache::Uncached] {
        let attributes = Attributes::of_device(cache, 0x0007_0106_0007_0406).expect("it has all");
        let huge = Entry::huge(Frame::new(1024), attributes);
        assert!(huge.is_huge() && huge.0 >> 13 & 0xff == 0);
        assert_eq!(huge.0 >> 12 & 1, u64::from(cache == Cache::WriteCombining));
        for page in [0, 7, 511] {
            assert_eq!(huge.small_page(page), Entry::page(Frame::new(1024 + page as u64), attributes));
        }
    }
}
