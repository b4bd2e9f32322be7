//! The entries of `vm_map_ram` mappings: written in one pass and not read again, and unmapped in one.
//!
//! A mapping has no guard page. Its first entry tells how many pages it has, or, if they are [`MANY`] or more, the first
//! three do: so nothing but a whole mapping is unmapped.

use super::{
    Attributes, Entry, Slot,
    entry::{MANY, RAM_DIGIT},
};
use crate::Frame;

/// Entries written in one go of a loop.
const TOGETHER: usize = 8;

/// Maps frames to as many pages, which nobody knows of, as one mapping, and publishes it.
#[inline(always)]
pub(crate) fn map_ram(pages: &[Slot], frames: &[Frame], attributes: Attributes) {
    let ([first, rest @ ..], [first_frame, rest_frames @ ..]) = (pages, frames) else { return };
    let entry = |&frame: &Frame| Entry::page(frame, attributes);
    let ([inner @ .., last], [inner_frames @ .., last_frame]) = (rest, rest_frames) else {
        return first.publish(entry(first_frame).with_ram_start(1).with_last());
    };
    let map = |(slot, frame): (&Slot, &Frame)| slot.set(entry(frame));
    match (inner.last_chunk::<TOGETHER>(), inner_frames.last_chunk::<TOGETHER>()) {
        (Some(slots), Some(frames)) => {
            let whole = inner.as_chunks::<TOGETHER>().0.iter().zip(inner_frames.as_chunks::<TOGETHER>().0);
            whole.for_each(|(slots, frames)| slots.iter().zip(frames).for_each(map));
            // What is left, and some of the others again: nobody knows of them yet.
            slots.iter().zip(frames).for_each(map);
        }
        _ => (0..TOGETHER).map_while(|page| inner.get(page).zip(inner_frames.get(page))).for_each(map),
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

/// Unmaps the mapping that consists of these pages, if there is one. Of several that do one is told so.
#[inline(always)]
pub(crate) fn unmap_ram(pages: &[Slot]) -> bool {
    let [first, rest @ ..] = pages else { return false };
    let entry = first.look();
    let is_whole = match (pages.len(), rest) {
        (length @ ..MANY, _) => entry.starts_ram(length),
        (length, [second, third, ..]) => {
            let (low, high) = (length % RAM_DIGIT, length / RAM_DIGIT);
            entry.starts_ram(MANY) && second.get().has_ram_length(low) && third.get().has_ram_length(high)
        }
        _ => false,
    };
    // A CPU has nothing to mark: accessed and dirty bits are set.
    if !is_whole || first.replace(entry, Entry::UNUSED).is_err() {
        return false;
    }
    if let Some(slots) = rest.last_chunk::<TOGETHER>() {
        rest.as_chunks::<TOGETHER>().0.iter().flatten().for_each(Slot::set_unused);
        slots.iter().for_each(Slot::set_unused);
    } else if let (Some(slots), Some(last)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        // Some twice, which takes less than to find out how many there are.
        slots.iter().for_each(Slot::set_unused);
        last.iter().for_each(Slot::set_unused);
    } else if let (Some(slots), Some(last)) = (rest.first_chunk::<2>(), rest.last_chunk::<2>()) {
        slots.iter().for_each(Slot::set_unused);
        last.iter().for_each(Slot::set_unused);
    } else if let Some(slot) = rest.first() {
        slot.set_unused();
    }
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
            for asked in (1..=512).filter(|&asked| asked != length) {
                assert!(!unmap_ram(&slots[..asked]), "{asked} of {length}");
            }
            assert!(unmap_ram(&slots[..length]) && !unmap_ram(&slots[..length]));
            assert!(slots[..length].iter().all(|slot| slot.get().is_unused()));
            assert!(length == 512 || slots[length].get().is_first());
        }
    }
}
