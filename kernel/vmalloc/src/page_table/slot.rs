//! The slots of a page table, and all the ways in which the entry in one changes.
//!
//! Entries are written without a lock: a page of address space has one owner at a time, and only the owner writes
//! its entry. CPUs set accessed and dirty bits meanwhile, in entries that are present, and whoever looks a frame up
//! marks its entry dirty. So an entry that somebody else may mark is changed in one step.
//!
//! An area is known by its first entry, which is published last and claimed first. The claim, a compare-and-swap,
//! decides which of two frees of one area is the one that frees.

use super::{Attributes, Entry};
use crate::{
    Frame,
    atomic::framed::{AtomicU64, Ordering},
    types::Owner,
};

/// Entries that are examined together: the pages of an area nearly always have the same attributes.
const TOGETHER: usize = 8;

/// The place of one entry in a page table.
#[repr(transparent)]
pub(crate) struct Slot(AtomicU64);

/// The slots of a page table.
pub(crate) type Slots = [Slot; 512];

impl Slot {
    /// Makes a slot that lies in no table, with an unused entry.
    pub const fn unused() -> Self {
        Self(AtomicU64::new(Entry::UNUSED.0))
    }

    /// Returns the entry, for its owner.
    #[inline(always)]
    pub fn get(&self) -> Entry {
        Entry(self.0.load(Ordering::Relaxed))
    }

    /// Returns the entry, for readers of what was written before it was [published](Self::publish).
    #[inline(always)]
    pub fn look(&self) -> Entry {
        Entry(self.0.load(Ordering::Acquire))
    }

    /// Writes an entry that nobody else writes or marks.
    #[inline(always)]
    pub fn set(&self, entry: Entry) {
        self.0.store(entry.0, Ordering::Relaxed);
    }

    /// Writes an entry, so that whoever [reads](Self::look) it finds what was written before.
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
        let _ = self.try_update(|entry| Some(how(entry)));
    }

    /// Changes an entry that others may mark or change meanwhile, again for each time that they do, until `how` gives up.
    /// Returns what the entry was before; `Err` has the one at which `how` gave up.
    #[inline(always)]
    pub fn try_update(&self, mut how: impl FnMut(Entry) -> Option<Entry>) -> Result<Entry, Entry> {
        let how = |entry| how(Entry(entry)).map(|new| new.0);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, how).map(Entry).map_err(Entry)
    }

    /// Replaces the entry if it is still `old`; else `Err` has what it is.
    pub fn replace(&self, old: Entry, new: Entry) -> Result<(), Entry> {
        let replaced = self.0.compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Acquire);
        replaced.map(drop).map_err(Entry)
    }

    /// Makes the entry unused and returns what it was, in one step.
    pub fn take(&self) -> Entry {
        Entry(self.0.swap(Entry::UNUSED.0, Ordering::AcqRel))
    }

    /// Returns the area's own frame that waits for a flush in the entry, or is cached there after one.
    #[inline(always)]
    pub fn cached_frame(&self) -> Option<Frame> {
        self.get().quarantined_frame()
    }

    #[inline(always)]
    pub fn is_present(&self) -> bool {
        self.get().is_present()
    }

    #[inline(always)]
    pub fn is_unused(&self) -> bool {
        self.get().is_unused()
    }

    /// Marks the last page of an area that is published and may be in use.
    pub fn mark_last(&self) {
        self.0.fetch_or(Entry::LAST_MARK, Ordering::Release);
    }

    /// Makes the first page of an area, maybe in use, tell how many pages the area has from now on, if one entry can
    /// tell both that and how many it had; otherwise marks it as [changed](Entry::changed). One that is marked stays so.
    pub fn mark_resized(&self, before: usize, now: usize) {
        let tells = before.max(now) <= Entry::MOST_COUNTED;
        self.update(|entry| if tells { entry.with_pages(now) } else { entry.changed() });
    }

    /// Clears the mark that [`mark_last`](Self::mark_last) sets.
    pub fn unmark_last(&self) {
        self.0.fetch_and(!Entry::LAST_MARK, Ordering::Release);
    }

    /// Claims the area that starts here, if one does whose frames are `owner`'s and that has no guard page below: unmaps
    /// its first page, and returns the entry before. Of several that claim an area one gets it.
    #[inline(always)]
    pub fn claim(&self, owner: Owner) -> Option<Entry> {
        let mut entry = self.look();
        // Again only if the entry was marked accessed or dirty meanwhile, once each. With `try_update` in this place a
        // free of several pages was measured to take 4 instructions more.
        while entry.is_start(owner) {
            match self.replace(entry, entry.quarantined().unmarked()) {
                Ok(()) => return Some(entry),
                Err(now) => entry = now,
            }
        }
        None
    }

    /// Claims the area that starts here as [`claim`](Self::claim) does, with a guard page below or without. Where it
    /// [hides](Entry::hides) pages, these but the first are still [hidden](hide_none).
    pub fn claim_any(&self, owner: Owner) -> Option<Entry> {
        let claimed = |entry: Entry| {
            let entry = entry.shown();
            let unmarked = if entry.hides() { entry.unmarked_owned() } else { entry.unmarked() };
            entry.is_any_start(owner).then(|| unmarked.quarantined())
        };
        self.try_update(claimed).ok().map(Entry::shown)
    }

    /// Claims the area that starts here, whose first entry is `entry`, as [`claim`](Self::claim) does, to park it: the entry
    /// keeps its marks. It may fail because the entry was marked meanwhile.
    #[inline(always)]
    pub fn claim_parkable(&self, entry: Entry) -> bool {
        self.replace(entry, entry.toggled()).is_ok()
    }

    /// Unmaps a page of an area that was claimed. Nobody uses the area any more, so that no CPU marks the entry meanwhile.
    #[inline]
    pub fn unmap(&self) {
        self.change(Entry::quarantined);
    }

    /// Makes an entry unused that every CPU has flushed, and returns what it was.
    #[inline]
    pub fn clear(&self) -> Entry {
        let entry = self.get();
        self.set_unused();
        entry
    }
}

/// Publishes a complete area of `pages` pages from its first and last one: marks its ends, the first page last.
#[inline(always)]
pub(crate) fn publish_area(first: &Slot, last: &Slot, pages: usize) {
    // Nobody else writes these entries: nobody knows the address, so that no CPU marks one dirty, and they are marked
    // accessed already.
    last.change(Entry::with_last);
    first.publish(first.get().with_first(pages));
}

/// Shows the pages of an area that was claimed, so that they are unmapped as others are: those of `pages` up to its guard.
#[cold]
pub(crate) fn hide_none<'a>(pages: impl Iterator<Item = &'a Slot>) {
    pages.take_while(|slot| !slot.get().is_guard()).for_each(|slot| slot.change(Entry::shown));
}

/// Maps a page again to the frame cached in its entry, and publishes it as an area with this guard behind, if it was mapped
/// with these attributes. Returns whether it was.
#[inline(always)]
pub(crate) fn publish_page(
    page: &Slot,
    end: &Slot,
    attributes: Attributes,
    guard: impl FnOnce() -> Entry,
) -> bool {
    let Some(entry) = page.get().mapped_as(attributes) else { return false };
    end.set(guard());
    page.publish(entry.with_first(1).with_last());
    true
}

/// Maps the pages of an area that was parked, and publishes it with this guard behind, if its first page has these
/// attributes. Returns whether it has.
#[inline(always)]
pub(crate) fn publish_parked(
    pages: &[Slot],
    end: &Slot,
    attributes: Attributes,
    guard: impl FnOnce() -> Entry,
) -> bool {
    let [first, rest @ ..] = pages else { return false };
    let entry = first.get().toggled();
    let is_same = entry.maps_as(attributes);
    if is_same {
        toggle(rest);
        // The guard first: who finds the first page may ask the guard whose it is.
        end.set(guard());
        first.publish(entry);
    }
    is_same
}

/// Unmaps the pages behind the first one of an area that is to be parked, or maps them again.
#[inline(always)]
pub(crate) fn toggle(pages: &[Slot]) {
    let pages = toggle_chunks::<8>(pages);
    // No loop: each place is compared with the length of what is left, and no pointer moves.
    let toggle_at = |place| pages.get(place).map(|slot: &Slot| slot.change(Entry::toggled));
    let _ = (|| {
        toggle_at(0)?;
        toggle_at(1)?;
        toggle_at(2)?;
        toggle_at(3)?;
        toggle_at(4)?;
        toggle_at(5)?;
        toggle_at(6)
    })();
}

/// Unmaps pages as [`toggle`] does, of which there may be many.
#[inline(always)]
pub(crate) fn toggle_many(pages: &[Slot]) {
    let pages = toggle_chunks::<8>(pages);
    let pages = toggle_chunks::<4>(pages);
    let pages = toggle_chunks::<2>(pages);
    toggle_chunks::<1>(pages);
}

/// Toggles the first entries, `N` at a time, and returns those that are left.
#[inline(always)]
fn toggle_chunks<const N: usize>(pages: &[Slot]) -> &[Slot] {
    let mut pages = pages;
    while let Some((slots, rest)) = pages.split_first_chunk::<N>() {
        slots.iter().for_each(|slot| slot.change(Entry::toggled));
        pages = rest;
    }
    pages
}

/// Maps pages again to the frames cached in their entries, up to one that has none or was mapped with other attributes.
/// Returns how many were mapped.
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

/// Unmaps the pages of an area up to its last one, and returns how many there were.
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
            // Its mark is cleared, so that the page can be mapped again as others are.
            slot.set(entry.quarantined().unmarked());
            break;
        }
        slot.unmap();
    }
    done
}

/// Returns the bits in which any of these entries differs from `other`.
#[inline(always)]
fn differences(slots: &[Slot; TOGETHER], other: u64) -> u64 {
    slots.iter().fold(0, |bits, slot| bits | (slot.get().0 ^ other))
}

#[cfg(all(test, not(loom)))]
mod tests;
