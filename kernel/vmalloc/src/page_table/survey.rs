//! Looking at tables that others may have made: whether a range of addresses is in use.

use super::{
    Entry, Slots,
    directories::{self, ROOT_SHIFT},
};
use crate::{PAGE_SHIFT, Platform};
use core::ops::Range;

/// log2 of the entries of a table.
const LEVEL_BITS: u32 = 9;

/// Finds the lowest address of a range whose entry maps a page, of any size, or is in use in a leaf table though it maps
/// none. Tables that hold nothing do not count. Only tables that there are cost anything, 512 loads each at most.
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
            below.and_then(|below| find_below(platform, below, shift - LEVEL_BITS, start, end))
        };
        if found.is_some() || end == last {
            return found;
        }
        start = end + 1;
    }
}
