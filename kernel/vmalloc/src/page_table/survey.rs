//! Looking at tables that others may have made: whether a range of addresses is in use, and where an address leads.

use super::{
    Entry, Slots,
    directories::{self, ROOT_SHIFT},
};
#[cfg(feature = "check")]
use crate::Frame;
use crate::{BLOCK_SHIFT, PAGE_SHIFT, Platform};
use core::ops::Range;

/// log2 of the entries of a table.
pub(super) const LEVEL_BITS: u32 = 9;

/// Finds the lowest address of a range whose entry maps a page, of any size, or is in use in a leaf table though it maps none,
/// or links an empty leaf table. Empty tables above do not count. Only existing tables cost anything, 512 loads each at most.
pub(crate) fn first_in_use<P: Platform>(platform: &P, range: &Range<usize>) -> Option<(usize, Entry)> {
    find_below(platform, directories::root(platform), ROOT_SHIFT, range.start, range.end - 1)
}

/// Looks at the addresses from `first` to `last`, which a table maps whose entries map 2 to the power of `shift` bytes each.
fn find_below<P: Platform>(
    platform: &P,
    table: &Slots,
    shift: u32,
    first: usize,
    last: usize,
) -> Option<(usize, Entry)> {
    let mut start = first;
    loop {
        let end = last.min(start | ((1 << shift) - 1));
        let slot = &table[directories::index(start, shift)];
        let entry = slot.look();
        let found = if shift == PAGE_SHIFT {
            (!entry.is_unused()).then_some((start, entry))
        } else if shift < ROOT_SHIFT && entry.is_huge() {
            Some((start, entry))
        } else {
            let below = directories::below(platform, slot);
            let found = below.and_then(|below| find_below(platform, below, shift - LEVEL_BITS, start, end));
            // A leaf table is somebody's, whatever it holds, and so is whatever else stands in its place.
            found.or((shift == BLOCK_SHIFT && !entry.is_unused()).then_some((start, entry)))
        };
        if found.is_some() || end == last {
            return found;
        }
        start = end + 1;
    }
}

/// Walks the tables as a CPU does: the frame to which an address leads, and whether it may be written. `physical_end` is the
/// first physical address that the CPUs do not have: an entry that has a higher one leads nowhere.
#[cfg(feature = "check")]
pub(crate) fn walk<P: Platform>(platform: &P, address: usize, physical_end: u64) -> Option<(Frame, bool)> {
    let (mut table, mut shift, mut writable) = (directories::root(platform), ROOT_SHIFT, true);
    loop {
        let entry = table[directories::index(address, shift)].look();
        if !entry.is_present() || entry.frame().address() >= physical_end {
            return None;
        }
        writable &= entry.is_writable();
        if shift == PAGE_SHIFT || shift < ROOT_SHIFT && entry.is_huge() {
            return Some((entry.frame_within(address, shift), writable));
        }
        // SAFETY: the entry links a table, as `directories` has it.
        table = unsafe { directories::table(platform, entry.frame()) };
        shift -= LEVEL_BITS;
    }
}

#[cfg(all(test, feature = "check", not(loom)))]
mod tests {
    use super::*;
    use crate::{
        BLOCK_PAGES, BLOCK_SIZE, PAGE_SIZE, Protection, Request,
        tests::{
            machine::Machine,
            support::{address, instance, protect},
        },
    };

    /// Seen failing with what each level allows counted twice, and without pages of 2 MiB.
    #[test]
    fn a_walk_ends_where_the_machines_own_ends() {
        let machine = Machine::new(1, 8 * BLOCK_PAGES);
        let vmalloc = instance(&machine, 8);
        let small = address(vmalloc.vmalloc(3 * PAGE_SIZE).expect("room"));
        let huge = address(vmalloc.allocate(Request::new(BLOCK_SIZE).huge()).expect("room"));
        protect(&vmalloc, small + PAGE_SIZE, 1, Protection::ReadOnly).expect("an area's page");
        for (at, writable) in
            [(small, true), (small + PAGE_SIZE, false), (huge, true), (huge + 77 * PAGE_SIZE, true)]
        {
            let expected = machine.translation(at).expect("mapped").frame;
            let walked = walk(&&machine, at, u64::MAX);
            assert_eq!(walked, Some((Frame::new(expected), writable)), "{at:#x}");
            // The CPUs do not have the frame, or the first of a 2 MiB page.
            let end = Frame::new(if at < huge { expected } else { expected & !(BLOCK_PAGES as u64 - 1) });
            assert_eq!(walk(&&machine, at, end.address()), None);
        }
        assert_eq!(walk(&&machine, small + 3 * PAGE_SIZE, u64::MAX), None, "the guard page");
    }
}
