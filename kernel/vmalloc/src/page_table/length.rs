//! How many pages a small area has, as its first entries tell, so that a free need not look for the last one.
//!
//! Of up to [`Entry::MOST_COUNTED`] pages the first entry tells it. Of more, but fewer than a block's half, the second
//! and the third one have a digit each: the lower one, and the rest. An area that was resized or protected since tells
//! nothing that holds: its end is looked for, and its digits go with its marks.

use super::{Entry, Slot, slot::toggle_many, unmap_to_last};

/// The base of the digits.
const DIGIT: usize = Entry::MOST_COUNTED;

/// Has the second and the third entry tell how long a small area is, if the first one cannot. Nobody knows the area yet.
#[inline(always)]
pub(crate) fn mark_length(pages: &[Slot]) {
    if (DIGIT + 1..DIGIT * DIGIT).contains(&pages.len())
        && let [_, second, third, ..] = pages
    {
        second.change(|entry| entry.with_digit(pages.len() % DIGIT));
        third.change(|entry| entry.with_digit(pages.len() / DIGIT));
    }
}

/// Unmaps the pages of a small area that was claimed, but the first one, whose entry was `first`. `rest` are the slots of
/// those, and more. Returns how many there were.
#[inline(always)]
pub(crate) fn unmap_rest(first: Entry, rest: &[Slot]) -> usize {
    if first.is_last() {
        return 0;
    }
    let [second, third, ..] = rest else { return unmap_to_last(rest) };
    let told = match (first.pages(), third.get().digit()) {
        _ if first.is_changed() => None,
        (None, 0) => None,
        (None, high) => Some(high * DIGIT + second.get().digit() - 1),
        (Some(pages), _) => Some(pages - 1),
    };
    let count = match told.and_then(|count| rest.get(..count)) {
        Some(pages @ [.., last]) => {
            toggle_many(pages);
            last.change(Entry::unmarked);
            pages.len()
        }
        _ => unmap_to_last(rest),
    };
    if count >= DIGIT || first.is_changed() {
        rest[..count.min(2)].iter().for_each(|slot| slot.change(Entry::unmarked));
    }
    count
}
