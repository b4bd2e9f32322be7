//! What entries carry comes back out of them.

use super::*;
use crate::Cache;

fn owned(number: u64) -> Entry {
    Entry::page(Frame::new(number), Attributes::new(Protection::ReadWrite, Cache::WriteBack, Owner::Area))
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
        let entry = Entry::guard(GuardInfo { slack, kind, caller });
        assert!(!entry.is_present() && entry.is_guard() && entry.quarantined_frame().is_none());
        let info = entry.guard_info().expect("is a guard");
        assert_eq!((info.slack, info.kind), (slack, kind));
        assert!(core::ptr::eq(info.caller, caller));
    }
}

#[test]
fn quarantine_keeps_the_frame_and_hides_it() {
    for number in [0, 1, 0x12345, (1 << 40) - 1] {
        let mapped = owned(number).with_first(1);
        assert_eq!(mapped.frame().number(), number);
        assert!(mapped.is_present() && mapped.is_first() && !mapped.is_last());
        let entry = mapped.quarantined();
        assert!(!entry.is_present() && !entry.is_guard() && !entry.is_first());
        assert_eq!(entry.quarantined_frame(), Some(Frame::new(number)));
        assert_eq!(entry.0 & FRAME_MASK, !(number << 12) & FRAME_MASK, "stored inverted");
    }
}

#[test]
fn an_unused_entry_is_nothing_else() {
    let entry = Entry::UNUSED;
    assert!(entry.is_unused() && !entry.is_present() && !entry.is_guard());
    assert!(entry.quarantined_frame().is_none() && entry.guard_info().is_none());
}

#[test]
fn nothing_is_writable_and_executable_nor_global() {
    for protection in [Protection::ReadWrite, Protection::ReadOnly, Protection::ReadExecute] {
        for cache in [Cache::WriteBack, Cache::WriteThrough, Cache::Uncached] {
            let attributes = Attributes::new(protection, cache, Owner::Area);
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
    let entry =
        Entry::page(Frame::new(9), Attributes::new(Protection::ReadWrite, Cache::Uncached, Owner::Caller));
    assert!(!entry.is_owned() && !entry.quarantined().is_present() && !entry.quarantined().is_unused());
    assert!(entry.quarantined().quarantined_frame().is_none());
}

#[test]
fn a_huge_entry_splits_into_its_small_pages() {
    let attributes = Attributes::new(Protection::ReadOnly, Cache::WriteBack, Owner::Area);
    let huge = Entry::huge(Frame::new(1024), attributes).with_first(512).with_last();
    for page in 0..512 {
        let small = huge.small_page(page);
        assert!(small.is_owned() && !small.is_huge());
        assert_eq!(small.frame().number(), 1024 + page as u64);
        assert_eq!((small.is_first(), small.is_last()), (page == 0, page == 511));
    }
}
