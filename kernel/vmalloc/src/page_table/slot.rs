//! A page table entry in its place, and all the ways in which one changes.
//!
//! Entries are written without a lock: a page of address space has one owner at a time, and only the owner writes
//! its entry. CPUs set accessed and dirty bits meanwhile, in entries that are present, and whoever looks a frame up
//! marks its entry dirty. So an entry that somebody else may mark is changed in one step.
//!
//! An area is known by its first entry, which is published last and claimed first. The claim, a compare-and-swap,
//! decides which of two frees of one area is the one that frees.

use super::entry::{Attributes, Entry};
use crate::types::{Owner, frame::Frame};
use core::sync::atomic::{AtomicU64, Ordering};

/// Entries that are looked at together: nearly always all pages of an area are alike.
const TOGETHER: usize = 8;

/// One entry of a page table.
#[repr(transparent)]
pub(crate) struct Slot(AtomicU64);

/// The entries of a page table.
pub(crate) type Slots = [Slot; 512];

impl Slot {
    /// What the entry is, for its owner.
    #[inline(always)]
    pub fn get(&self) -> Entry {
        Entry(self.0.load(Ordering::Relaxed))
    }

    /// What the entry is, for who reads what was written before it was published.
    #[inline(always)]
    pub fn look(&self) -> Entry {
        Entry(self.0.load(Ordering::Acquire))
    }

    /// Writes an entry that nobody else writes or marks.
    #[inline(always)]
    pub fn set(&self, entry: Entry) {
        self.0.store(entry.0, Ordering::Relaxed);
    }

    /// Writes an entry, for who looks at it to find what was written before.
    #[inline(always)]
    pub fn publish(&self, entry: Entry) {
        self.0.store(entry.0, Ordering::Release);
    }

    #[inline(always)]
    pub fn set_unused(&self) {
        self.set(Entry::UNUSED);
    }

    /// Changes an entry that nobody else changes.
    #[inline(always)]
    pub fn change(&self, how: impl FnOnce(Entry) -> Entry) {
        self.set(how(self.get()));
    }

    /// Changes an entry that CPUs may mark meanwhile.
    pub fn update(&self, how: impl Fn(Entry) -> Entry) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |entry| Some(how(Entry(entry)).0));
    }

    /// Replaces an entry that is still `old`; else tells what it is.
    pub fn replace(&self, old: Entry, new: Entry) -> Result<(), Entry> {
        let replaced = self.0.compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire);
        replaced.map(drop).map_err(Entry)
    }

    /// Takes the entry out, in one step.
    pub fn take(&self) -> Entry {
        Entry(self.0.swap(Entry::UNUSED.0, Ordering::AcqRel))
    }

    /// The frame that waits in the entry, or is cached there: see [`Entry::quarantined_frame`].
    #[inline(always)]
    pub fn cached_frame(&self) -> Option<Frame> {
        self.get().quarantined_frame()
    }

    #[inline(always)]
    pub fn is_present(&self) -> bool {
        self.get().is_present()
    }

    /// Marks the last page of an area that is known and may be in use.
    pub fn mark_last(&self) {
        self.0.fetch_or(Entry::LAST_MARK, Ordering::Release);
    }

    /// Takes away the mark that [`mark_last`](Self::mark_last) sets.
    pub fn unmark_last(&self) {
        self.0.fetch_and(!Entry::LAST_MARK, Ordering::Release);
    }

    /// Unmaps the first page of an area whose frames are `owner`'s, without a guard page below, if one starts here and
    /// nobody else was faster: the entry before.
    #[inline(always)]
    pub fn claim(&self, owner: Owner) -> Option<Entry> {
        self.claim_if(|entry| entry.is_start(owner))
    }

    /// As [`claim`](Self::claim), of an area that may have a guard page below.
    pub fn claim_any(&self, owner: Owner) -> Option<Entry> {
        self.claim_if(|entry| entry.is_any_start(owner))
    }

    #[inline(always)]
    fn claim_if(&self, is_it: impl Fn(Entry) -> bool) -> Option<Entry> {
        let mut entry = self.look();
        // Again only if the entry was marked accessed or dirty meanwhile, once each.
        while is_it(entry) {
            match self.replace(entry, entry.quarantined().unmarked()) {
                Ok(()) => return Some(entry),
                Err(now) => entry = now,
            }
        }
        None
    }

    /// Unmaps a page of an area that was claimed. Nobody uses the area any more, so no CPU marks the entry meanwhile.
    #[inline]
    pub fn unmap(&self) {
        self.change(Entry::quarantined);
    }

    /// Makes an entry that every CPU has flushed unused: the entry before.
    #[inline]
    pub fn clear(&self) -> Entry {
        let entry = self.get();
        self.set_unused();
        entry
    }
}

/// Makes a complete area known, whose pages these are: marks its ends, the first page last.
#[inline(always)]
pub(crate) fn publish_area(first: &Slot, last: &Slot) {
    // Nobody else writes these entries: nobody knows the address, so no CPU marks one dirty, and they are marked
    // accessed.
    last.change(Entry::with_last);
    first.publish(first.get().with_first());
}

/// Maps pages again to the frames cached in their entries, as long as these were mapped with the same attributes: how
/// many pages.
#[inline(always)]
pub(crate) fn remap(pages: &[Slot], attributes: Attributes) -> usize {
    let mut done = 0;
    for slots in pages.as_chunks::<TOGETHER>().0 {
        if !Entry::are_mapped_as(differences(slots, attributes.unmapped())) {
            break;
        }
        slots.iter().for_each(|slot| slot.change(Entry::mapped));
        done += TOGETHER;
    }
    for slot in &pages[done..] {
        match slot.get().mapped_as(attributes) {
            Some(entry) => slot.set(entry),
            None => break,
        }
        done += 1;
    }
    done
}

/// Unmaps the pages of an area up to its last one: how many.
#[inline(always)]
pub(crate) fn unmap_to_last(pages: &[Slot]) -> usize {
    let mut done = 0;
    for slots in pages.as_chunks::<TOGETHER>().0 {
        if Entry(differences(slots, 0)).is_last() {
            break;
        }
        slots.iter().for_each(Slot::unmap);
        done += TOGETHER;
    }
    for slot in &pages[done..] {
        done += 1;
        let entry = slot.get();
        if entry.is_last() {
            // Its mark goes, so that it can be mapped again as it is.
            slot.set(entry.quarantined().unmarked());
            break;
        }
        slot.unmap();
    }
    done
}

/// The bits in which any of these entries differs from `other`.
#[inline(always)]
fn differences(slots: &[Slot; TOGETHER], other: u64) -> u64 {
    slots.iter().fold(0, |bits, slot| bits | (slot.get().0 ^ other))
}
