//! How many pages a small area has, as its first entries tell, so that a free need not look for the last one.
//!
//! Of up to [`Entry::MOST_COUNTED`] pages the first entry tells it. Of more, but fewer than a block's half, the second
//! and the third one have a digit each: the lower one, and the rest. What the entries tell may not hold of an
//! area that was resized and has or had more pages than the first entry can tell, and of one that was protected: its end is
//! looked for, and its digits go with its marks.

use super::{Entry, Slot, slot::toggle_many, unmap_to_last};

/// The base of the digits.
const DIGIT: usize = Entry::MOST_COUNTED;

/// Has the second and the third entry tell how long a small area is, if the first one cannot. Nobody knows the area yet.
#[inline(always)]
pub(crate) fn mark_length(pages: &[Slot]) {
    if (DIGIT + 1..=Entry::MOST_TOLD).contains(&pages.len())
        && let [_, second, third, ..] = pages
    {
        second.change(|entry| entry.with_digit(pages.len() % DIGIT));
        third.change(|entry| entry.with_digit(pages.len() / DIGIT));
    }
}

/// Takes the marks away of an area that is parked, and its guard: its pages are as those of an area that was freed.
#[inline(always)]
pub(crate) fn unmark_parked(pages: &[Slot], end: &Slot) {
    if let [first, rest @ ..] = pages {
        first.change(Entry::unmarked);
        rest.last().into_iter().for_each(|last| last.change(Entry::unmarked));
    }
    if pages.len() > DIGIT {
        pages[1..3].iter().for_each(|slot| slot.change(Entry::unmarked));
    }
    end.set_unused();
}

/// Returns how many pages a small area has behind the first one, whose entry was `first`, if its entries tell. `rest` are the
/// slots of those, and more.
#[inline(always)]
pub(crate) fn told_rest(first: Entry, rest: &[Slot]) -> Option<usize> {
    let [second, third, ..] = rest else { return None };
    match (first.pages(), third.get().digit()) {
        _ if first.is_changed() => None,
        (None, 0) => None,
        (None, high) => Some(high * DIGIT + second.get().digit() - 1),
        (Some(pages), _) => Some(pages - 1),
    }
}

/// Unmaps the pages of a small area that was claimed, but the first one, whose entry was `first`. `rest` are the slots of
/// those, and more. Returns how many there were.
#[inline(always)]
pub(crate) fn unmap_rest(first: Entry, rest: &[Slot]) -> usize {
    if first.is_last() {
        return 0;
    }
    let count = match told_rest(first, rest).and_then(|count| rest.get(..count)) {
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
