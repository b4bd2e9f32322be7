//! The entries of `vm_map_ram` mappings: written in one pass and not read again, and unmapped in one.
//!
//! A mapping has no guard page. Its first entry tells how many pages it has, or, if they are [`MANY`] or more, the first
//! three do: so nothing but a whole mapping is unmapped.

use super::{
    Attributes, Entry, Slot,
    entry::{MANY, RAM_DIGIT},
    unrolled::{FEW, below},
};
use crate::{BLOCK_PAGES, Frame};
use core::ptr::NonNull;

/// Entries written in one go of a loop, where they are more than [`FEW`].
const TOGETHER: usize = 16;
const _: () = assert!(TOGETHER <= FEW);

/// Makes the entry of a mapping of one page.
#[inline(always)]
pub(crate) fn ram_page(frame: Frame, attributes: Attributes) -> Entry {
    Entry::page(frame, attributes).with_ram_start(1).with_last()
}

/// Maps frames to as many pages, which nobody knows of, as one mapping, and publishes it.
#[inline(always)]
pub(crate) fn map_ram(pages: &[Slot], frames: &[Frame], attributes: Attributes) {
    assert!(pages.len() == frames.len(), "each page shows a frame");
    let ([first, rest @ ..], [first_frame, rest_frames @ ..]) = (pages, frames) else { return };
    let entry = |&frame: &Frame| Entry::page(frame, attributes);
    let ([inner @ .., last], [inner_frames @ .., last_frame]) = (rest, rest_frames) else {
        return first.publish(ram_page(*first_frame, attributes));
    };
    // Compilers learn from the question of how many there are that a short mapping has no such chunk.
    match (inner.last_chunk(), inner_frames.last_chunk()) {
        (Some(slots), Some(frames)) if pages.len() > FEW => {
            for (slots, frames) in inner.as_chunks().0.iter().zip(inner_frames.as_chunks().0) {
                map_together(slots, frames, attributes);
            }
            // What is left, and some of the others again: nobody knows of them yet.
            map_together(slots, frames, attributes);
        }
        // SAFETY: each number is below that of the slots, of which there are as many as of frames.
        _ => below(inner.len(), |page| unsafe {
            inner.get_unchecked(page).set(entry(inner_frames.get_unchecked(page)));
        }),
    }
    last.set(entry(last_frame).with_last());
    let mut told = pages.len();
    if told >= MANY {
        inner[0].set(entry(&inner_frames[0]).with_ram_length(told % RAM_DIGIT));
        inner[1].set(entry(&inner_frames[1]).with_ram_length(told / RAM_DIGIT));
        told = MANY;
    }
    // Last: it makes the mapping known.
    first.publish(entry(first_frame).with_ram_start(told));
}

#[inline(always)]
fn map_together(slots: &[Slot; TOGETHER], frames: &[Frame; TOGETHER], attributes: Attributes) {
    below(TOGETHER, |page| slots[page].set(Entry::page(frames[page], attributes)));
}

/// Unmaps the mapping that consists of the page with this entry, if there is one. Returns what the entry was; of several
/// callers one gets it.
#[inline(always)]
pub(crate) fn unmap_ram_page(page: &Slot) -> Option<Entry> {
    let entry = page.look();
    // A CPU has nothing to mark: accessed and dirty bits are set.
    (entry.starts_ram(1) && page.replace(entry, Entry::UNUSED).is_ok()).then_some(entry)
}

/// Unmaps the mapping of `count` pages that starts with the page of this entry, if there is one. Of
/// several callers one is told so.
///
/// # Safety
/// 1. The entry is one of a table that the caller may use: of a slice of its entries, up to the last one.
/// 2. `count` is a block's number of pages at most.
#[inline(always)]
pub(crate) unsafe fn unmap_ram(first: NonNull<Slot>, count: usize) -> bool {
    debug_assert!(count <= BLOCK_PAGES);
    // SAFETY: promised by the caller, of this one; of others behind it, `map_ram` told the first one that they follow.
    let slot = |page: usize| unsafe { first.add(page).as_ref() };
    let entry = slot(0).look();
    let is_whole = match count {
        1..MANY => entry.starts_ram(count),
        MANY.. if entry.starts_ram(MANY) => {
            let (low, high) = (count % RAM_DIGIT, count / RAM_DIGIT);
            slot(1).get().has_ram_length(low) && slot(2).get().has_ram_length(high)
        }
        _ => false,
    };
    // A CPU has nothing to mark: accessed and dirty bits are set.
    if !is_whole || slot(0).replace(entry, Entry::UNUSED).is_err() {
        return false;
    }
    if count <= FEW {
        below(count - 1, |page| slot(page + 1).set_unused());
        return true;
    }
    let rest = count - 1;
    for group in 0..rest / TOGETHER {
        below(TOGETHER, |page| slot(1 + group * TOGETHER + page).set_unused());
    }
    // What is left, and some of the others again: nobody has been told that they are free.
    below(TOGETHER, |page| slot(count - TOGETHER + page).set_unused());
    true
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;

    use super::*;
    use crate::{Owner, Protection, page_table::Slots};
    use core::mem::MaybeUninit;
    use std::vec::Vec;

    /// Seen failing: with the length of the second, or of the third entry not looked at.
    #[test]
    fn a_mapping_tells_its_length_from_all_others() {
        let attributes = Attributes::ram(Protection::ReadWrite);
        for length in 1..=512 {
            // SAFETY: a table of zeros is one of unused entries.
            let slots = unsafe { MaybeUninit::<Slots>::zeroed().assume_init() };
            let frames: Vec<_> = (0..512).map(|number| Frame::new(7 + number)).collect();
            map_ram(&slots[..length], &frames[..length], attributes);
            // Behind it are others.
            if length < 512 {
                map_ram(&slots[length..], &frames[length..], attributes);
            }
            let entry = slots[0].get();
            assert!(
                entry.is_ram() && entry.is_first() && !entry.is_start(Owner::Caller) && !entry.is_owned()
            );
            for (page, slot) in slots[..length].iter().enumerate() {
                let (entry, ends) = (slot.get(), (page == 0, page == length - 1));
                assert_eq!(
                    (entry.frame(), entry.is_first(), entry.is_last()),
                    (frames[page], ends.0, ends.1)
                );
            }
            // SAFETY: the table is there.
            let unmap = |count| unsafe { unmap_ram(NonNull::from(&slots[..]).cast(), count) };
            for asked in (0..=512).filter(|&asked| asked != length) {
                assert!(!unmap(asked), "{asked} of {length}");
            }
            assert!(unmap(length) && !unmap(length));
            assert!(slots[..length].iter().all(|slot| slot.get().is_unused()));
            assert!(length == 512 || slots[length].get().is_first());
        }
    }
}
