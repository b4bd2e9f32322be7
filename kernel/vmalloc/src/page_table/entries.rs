//! Many page table entries at a time.
//!
//! Nearly always all pages of an area are alike. So eight are looked at together, and then each is changed where
//! it is, by one instruction.

use crate::page_table::entry::{Attributes, Entry};
use core::sync::atomic::{AtomicU64, Ordering};

/// Entries looked at together.
const TOGETHER: usize = 8;

/// Maps pages again to the frames they kept, as long as these were mapped with the same attributes: how
/// many pages.
#[inline(always)]
pub(crate) fn remap(pages: &[AtomicU64], attributes: Attributes) -> usize {
    let mut done = 0;
    for slots in pages.as_chunks::<TOGETHER>().0 {
        if !Entry::are_mapped_as(unlike(slots, attributes.unmapped())) {
            break;
        }
        slots.iter().for_each(|slot| change(slot, Entry::mapped));
        done += TOGETHER;
    }
    for slot in &pages[done..] {
        match Entry(slot.load(Ordering::Relaxed)).mapped_as(attributes) {
            Some(entry) => slot.store(entry.0, Ordering::Relaxed),
            None => break,
        }
        done += 1;
    }
    done
}

/// Unmaps the pages of an area up to its last one: how many.
#[inline(always)]
pub(crate) fn unmap_to_last(pages: &[AtomicU64]) -> usize {
    let mut done = 0;
    for slots in pages.as_chunks::<TOGETHER>().0 {
        if Entry(unlike(slots, 0)).is_last() {
            break;
        }
        slots.iter().for_each(|slot| change(slot, Entry::quarantined));
        done += TOGETHER;
    }
    for slot in &pages[done..] {
        done += 1;
        let entry = Entry(slot.load(Ordering::Relaxed));
        if entry.is_last() {
            // Its mark goes, so that it can be mapped again as it is.
            slot.store(entry.quarantined().unmarked().0, Ordering::Relaxed);
            break;
        }
        change(slot, Entry::quarantined);
    }
    done
}

/// The bits in which any of these is unlike `other`.
#[inline(always)]
fn unlike(slots: &[AtomicU64; TOGETHER], other: u64) -> u64 {
    slots.iter().fold(0, |bits, slot| bits | (slot.load(Ordering::Relaxed) ^ other))
}

/// Changes an entry that nobody else changes.
#[inline(always)]
fn change(slot: &AtomicU64, how: impl Fn(Entry) -> Entry) {
    slot.store(how(Entry(slot.load(Ordering::Relaxed))).0, Ordering::Relaxed);
}
