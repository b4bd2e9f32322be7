//! Frames of pages: mapping the ones that are cached in the pages' entries, taking new ones, giving cached ones back.
//!
//! A free page of a block may still have the frame that it had when it was last in use, unmapped and flushed.
//! Mapping it again is one store: the machine does not take the frame back and give another, and no table is
//! searched. When frames run short, cached ones are given back.

use super::{Areas, Backing, Shape};
use crate::{
    BLOCK_PAGES, Frame, Platform, Returned,
    page_table::{Attributes, Entry, Slot, remap},
};

/// Frames given back in one go.
const AT_ONCE: usize = 64;

/// Which attempt at an allocation this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Others may purge meanwhile. Pages are mapped as frames for them are found.
    Usual,
    /// The last one, made with the turn to purge: nothing is mapped before there are frames for all pages, so an attempt
    /// that fails leaves nothing that waits for a flush.
    Last,
}

fn has_frame(slot: &Slot) -> bool {
    slot.cached_frame().is_some()
}

impl<P: Platform> Areas<P> {
    /// Maps pages, none of which has a cached frame, by frames of `shape`'s backing, from page `from` of the area on,
    /// until frames run out: how many.
    pub(super) fn fill(&self, pages: &[Slot], from: usize, shape: &Shape<'_>) -> usize {
        debug_assert!(pages.iter().all(Slot::is_unused));
        let map = |slot: &Slot, frame| slot.set(Entry::page(frame, shape.attributes));
        match shape.backing {
            Backing::Owned { .. } => {
                return self.take_frames(pages.iter(), pages.len(), shape.attributes, |page| page);
            }
            Backing::Frames(frames) => {
                pages.iter().zip(&frames[from..]).for_each(|(slot, &frame)| map(slot, frame));
            }
            Backing::Physical(first) => {
                let numbers = first.number() + from as u64..;
                pages.iter().zip(numbers).for_each(|(slot, number)| map(slot, Frame::new(number)));
            }
        }
        pages.len()
    }

    /// Returns the attributes that entries get of pages that were filled as `attributes` say. Where the dirty bit is not
    /// trusted every entry is dirty from the beginning, so that no page is [known](Entry::is_known_zero) to be zero.
    #[inline]
    pub(super) fn mapped_as(&self, attributes: Attributes) -> Attributes {
        if attributes.are_zeroed() && !self.base().trusts_dirty() { attributes.dirty() } else { attributes }
    }

    /// Takes up to `count` frames from the machine, full of zeros if the attributes say so, and writes to the
    /// pages what `how` makes of the entries that map them. Returns how many there were.
    fn take_frames<'s>(
        &self,
        mut pages: impl Iterator<Item = &'s Slot>,
        count: usize,
        attributes: Attributes,
        how: impl Fn(Entry) -> Entry,
    ) -> usize {
        let mapped_as = self.mapped_as(attributes);
        let mut given = 0;
        let taken = self.platform().take_frames(count, |frame| {
            given += 1;
            if attributes.are_zeroed() {
                self.base().zero(frame);
            }
            if let Some(slot) = pages.next() {
                slot.set(how(Entry::page(frame, mapped_as)));
            }
        });
        debug_assert_eq!(taken, given, "take_frames counts otherwise than the frames that it gives");
        taken
    }

    /// Maps pages, some of which may have cached frames. `cpu` is the one that this runs on,
    /// or was a moment ago. `false`: frames ran out, and some pages may be mapped.
    #[inline(always)]
    pub(super) fn refill(
        &self,
        pages: &[Slot],
        attributes: Attributes,
        attempt: Attempt,
        cpu: usize,
    ) -> bool {
        let mapped = remap(pages, attributes);
        mapped == pages.len() || self.refill_rest(&pages[mapped..], attributes, attempt, cpu)
    }

    #[inline(never)]
    fn refill_rest(&self, mut pages: &[Slot], attributes: Attributes, attempt: Attempt, cpu: usize) -> bool {
        // Each turn maps a page at least, or is followed by one that does.
        while !pages.is_empty() {
            let Some(filled) = self.refill_some(pages, attributes, attempt, cpu) else { return false };
            pages = &pages[filled..];
            pages = &pages[remap(pages, attributes)..];
        }
        true
    }

    /// Maps the first page, whose frame had other attributes, or all pages up to the next one that has a cached
    /// frame: how many. Or none, but has frames put into these pages, to be mapped as if they had been cached. `None`:
    /// frames ran out.
    fn refill_some(
        &self,
        pages: &[Slot],
        attributes: Attributes,
        attempt: Attempt,
        cpu: usize,
    ) -> Option<usize> {
        let first = pages.first()?;
        let entry = first.get();
        let cached = entry.quarantined_frame();
        if cached.is_none() {
            self.blocks().expect_unused(first);
        }
        if let Some(frame) = cached.or_else(|| self.pools.take_spare(cpu)) {
            if attributes.are_zeroed() && !(cached.is_some() && entry.is_known_zero()) {
                self.base().zero(frame);
            }
            first.set(Entry::page(frame, self.mapped_as(attributes)));
            return Some(1);
        }
        let missing = pages.iter().take_while(|slot| slot.is_unused()).count();
        let pages = &pages[..missing];
        if attempt == Attempt::Last {
            return self.supply(pages, attributes).then_some(0);
        }
        (self.take_frames(pages.iter(), missing, attributes, |page| page) == missing).then_some(missing)
    }

    /// Caches frames in the entries of pages, which are not mapped, that have none. `false`: there are not enough; but
    /// no CPU can have reached those that there were.
    #[cold]
    pub(super) fn supply(&self, pages: &[Slot], attributes: Attributes) -> bool {
        let empty = || pages.iter().filter(|slot| !has_frame(slot));
        empty().for_each(|slot| self.blocks().expect_unused(slot));
        let missing = empty().count();
        // Where zeros are not trusted, the pages are filled when they are mapped, and not here too.
        let attributes = self.mapped_as(attributes);
        self.take_frames(empty(), missing, attributes, Entry::quarantined) == missing
    }

    /// Gives back the frames that are cached in entries, and leaves those unused.
    pub(super) fn give_cached_frames(&self, pages: &[Slot]) {
        if !pages.iter().all(Slot::is_unused) {
            self.platform().give_frames(Returned::new(pages.iter().filter_map(|slot| {
                let frame = slot.cached_frame();
                match frame {
                    Some(_) => slot.set_unused(),
                    None => self.blocks().expect_unused(slot),
                }
                frame
            })));
        }
    }

    /// Takes the frame out of the entry of a page that becomes a guard page, and caches it for another page
    /// of `cpu`.
    #[inline(always)]
    pub(super) fn spare_frame(&self, slot: &Slot, cpu: usize) {
        match slot.cached_frame() {
            Some(frame) => self.pools.put_spare(cpu, frame),
            None => self.blocks().expect_unused(slot),
        }
    }

    /// Gives the machine up to `most` of the frames that free pages cached, but those of bump runs: how many.
    pub fn release_frames(&self, most: usize) -> usize {
        let mut given = 0;
        for number in self.blocks().known() {
            // A block has no more, unless others purge meanwhile.
            for _ in 0..BLOCK_PAGES / AT_ONCE {
                let (wanted, before) = (AT_ONCE.min(most - given), given);
                given += self.release_some(number, wanted);
                if given == most {
                    return given;
                }
                if given - before < wanted {
                    break;
                }
            }
        }
        given
    }

    /// Gives back up to `most`, at most [`AT_ONCE`], of the frames that free pages of a block cached: how many.
    fn release_some(&self, number: usize, most: usize) -> usize {
        let pin = self.platform().pin();
        let Some(block) = self.blocks().find(number, &pin) else { return 0 };
        let mut frames = [Frame::new(0); AT_ONCE];
        let mut count = 0;
        {
            let pages = block.pages.lock(&pin);
            let has_pages = block.role().has_pages();
            let Some(leaf) = block.leaf(self.platform()).filter(|_| has_pages) else { return 0 };
            // Most blocks have few free pages, or none, where memory is short: only the entries of these are read.
            let free = pages.free_runs().flat_map(|(start, end)| &leaf[start..end]);
            for (slot, place) in free.filter(|slot| has_frame(slot)).zip(&mut frames[..most]) {
                *place = slot.clear().quarantined_frame().unwrap_or(*place);
                count += 1;
            }
        }
        drop(pin);
        self.platform().give_frames(Returned::new(frames[..count].iter().copied()));
        count
    }
}
