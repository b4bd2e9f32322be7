//! What the library tells of areas and addresses, compared with what should be.

use super::{World, bytes};
use crate::model::Page;
use std::collections::BTreeMap;
use vmalloc::{BLOCK_PAGES, GuardPolicy, Kind, PAGE_SIZE, Place, Tally};

impl World<'_> {
    /// Compares what is known of an area, by any address in it, with what the library tells.
    pub(super) fn look_at(&self, instance: usize, start: usize, address: usize) {
        let vmalloc = self.instance(instance);
        let found = vmalloc.find_area(address);
        let model = self.models[instance].borrow();
        let area = &model.areas[&start];
        let found =
            found.unwrap_or_else(|| panic!("{address:#x} is in no area, and is in that at {start:#x}"));
        assert_eq!(
            (found.start, found.pages),
            (start, area.pages.len()),
            "the area at {address:#x}: {found:?}"
        );
        assert_eq!(
            (found.kind, found.guard_pages, found.guard_below),
            (area.kind, area.behind, area.below),
            "{found:?}"
        );
        let requested = if area.kind == Kind::Congruent { bytes(area.pages.len()) } else { area.requested };
        assert_eq!(found.requested, requested, "{found:?}");
        let made = found.made.map(vmalloc::Birth::milliseconds);
        assert_eq!(made, area.made.filter(|_| area.behind > 0), "{found:?}");
        if !self.is_nested() {
            let populated = area.pages.iter().filter(|page| page.present).count();
            assert_eq!(found.populated, populated, "{found:?}");
        }
    }

    pub(super) fn look(&self, instance: usize, which: u32, page: u32) {
        let picked = {
            let model = self.models[instance].borrow();
            let start = model.pick(which, |_| true);
            start.map(|start| {
                (start, page as usize % model.areas[&start].pages.len(), model.areas[&start].clone())
            })
        };
        let Some((start, page, area)) = picked else { return };
        let address = start + bytes(page) + (which as usize * 8) % PAGE_SIZE;
        self.look_at(instance, start, address);
        let mut word = [0; 8];
        let read = self.call(instance, |vmalloc| vmalloc.vread(start + bytes(page), &mut word));
        if self.moments.get() > 0 && !self.is_nested() {
            // Others may have changed it meanwhile.
            return;
        }
        let vmalloc = self.instance(instance);
        let known = area[page];
        let is_read_at_all = area.kind != Kind::Ioremap;
        let is_read = known.writable().is_some() && is_read_at_all;
        assert_eq!(read, if is_read { 8 } else { 0 }, "vread of page {page} of {start:#x}");
        let expected = match known.frame {
            Some(frame) => self.frames.borrow().word(frame),
            None => known.word,
        };
        if let Some(expected) = expected.filter(|_| is_read) {
            assert_eq!(u64::from_ne_bytes(word), expected, "vread of page {page} of {start:#x}");
        }
        match vmalloc.whatis(address).place {
            Place::Area { area: found, protection } => {
                assert_eq!(found.start, start);
                assert_eq!(
                    protection,
                    known.present.then_some(known.protection),
                    "page {page} of {start:#x}"
                );
            }
            other => panic!("{address:#x} is in an area, and whatis says {other:?}"),
        }
        // It marks the page, so that it is not known to be zero: only sometimes, and where that is no matter.
        if known.frame.is_some() || !known.present || which & 4 == 4 {
            let frame = vmalloc.frame_at(address);
            assert_eq!(frame.is_some(), known.present, "frame_at page {page} of {start:#x}");
            if known.frame.is_some() {
                assert_eq!(frame.map(vmalloc::Frame::number), known.frame, "page {page} of {start:#x}");
            }
        }
        // As above, of the whole area, which others may be about to populate.
        if !self.is_nested() && (area.pages.iter().all(|page| page.frame.is_some()) || which & 12 == 12) {
            let frames = vmalloc.area_frames(address).expect("an area");
            let found: Vec<u64> = frames.map(vmalloc::Frame::number).collect();
            let present = || area.pages.iter().filter(|page| page.present);
            assert_eq!(found.len(), present().count(), "area_frames of {start:#x}");
            let is_known = |(page, &found): (&Page, &u64)| page.frame.is_none_or(|frame| frame == found);
            assert!(present().zip(&found).all(is_known), "area_frames of {start:#x}: {found:x?}");
        }
        // Across the end of the page, to the next one or the guard page.
        let next = area.pages.get(page + 1).is_some_and(|page| page.writable().is_some());
        let both = 8 * usize::from(is_read) + 8 * usize::from(next && is_read_at_all);
        let read = vmalloc.vread(start + bytes(page + 1) - 8, &mut [0; 16]);
        assert!(
            read == both || area.behind == 0 && page + 1 == area.pages.len(),
            "vread of 16 bytes across the end of page {page} of {start:#x}: {read}, not {both}"
        );
        if area.behind > 0 {
            let guard = area.end() + (which as usize * 8) % PAGE_SIZE;
            assert_eq!(self.machine.writable(guard), None, "the guard page of {start:#x} is mapped");
            assert!(
                matches!(vmalloc.whatis(guard).place, Place::GuardBehind { .. }),
                "{:?}",
                vmalloc.whatis(guard)
            );
            assert_eq!(vmalloc.vread(guard & !7, &mut word), 0);
        }
        if area.below > 0 {
            assert_eq!(self.machine.writable(start - 8), None, "the guard page below {start:#x} is mapped");
            let place = vmalloc.whatis(start - 8).place;
            assert!(matches!(place, Place::GuardBelow { .. }), "{place:?}");
        }
    }

    /// Compares what is at any address of the range.
    pub(super) fn look_anywhere(&self, instance: usize, page: u32, more: u32) {
        if self.moments.get() > 0 || !self.queue.borrow().is_empty() {
            return;
        }
        let range = self.setting.range(instance);
        let address =
            range.start + (page as usize * 67 + more as usize) % (range.len() / PAGE_SIZE) * PAGE_SIZE;
        let vmalloc = self.instance(instance);
        let found = vmalloc.find_area(address);
        self.note(|| format!("find_area {address:#x}: {found:x?}"));
        let model = self.models[instance].borrow();
        let known = model.at(address);
        assert_eq!(
            found.map(|area| area.start),
            known.map(|area| area.start),
            "find_area {address:#x}: {found:?}"
        );
        let next = vmalloc.next_area(address).map(|area| area.start);
        let known_next = model.areas.range(address..).next().map(|(&start, _)| start);
        assert_eq!(next, known_next, "next_area {address:#x}");
        let is_free = known.is_none() && !model.deferred.iter().any(|range| range.contains(&address));
        if is_free {
            assert_eq!(self.machine.writable(address), None, "{address:#x} is nobody's and mapped");
            assert!(vmalloc.frame_at(address).is_none(), "{address:#x} is nobody's and has a frame");
        }
        assert!(vmalloc.contains(address));
    }

    /// Has the CPU that runs go to an address by itself.
    pub(super) fn speculate(&self, instance: usize, page: u32, more: u32) {
        let picked = if more & 3 == 0 { None } else { self.models[instance].borrow().pick(page, |_| true) };
        let range = self.setting.range(instance);
        let address = match picked {
            Some(start) => start + bytes(more as usize / 4 % 4),
            None => {
                range.start + (page as usize * 61 + more as usize) % (range.len() / PAGE_SIZE) * PAGE_SIZE
            }
        };
        // Behind the range there may be nothing at all.
        let _ = self.machine.touch(address.min(range.end - PAGE_SIZE));
    }

    /// Compares the lists of all areas, and the counts.
    pub(super) fn count(&self) {
        (0..2).for_each(|instance| self.count_instance(instance));
    }

    /// Compares what an instance has done so far with what it told before.
    fn judge_tally(&self, instance: usize, now: Tally) {
        let numbers =
            |tally: Tally| [tally.search_steps, tally.overflows, tally.retries, tally.purges, tally.purged];
        let before = self.tallies[instance].replace(now);
        let is_no_less = numbers(before).into_iter().zip(numbers(now)).all(|(before, now)| before <= now);
        assert!(is_no_less, "{now:?} after {before:?}");
    }

    pub(super) fn count_instance(&self, instance: usize) {
        let vmalloc = self.instance(instance);
        let found: Vec<(usize, usize)> = vmalloc.areas().map(|area| (area.start, area.pages)).collect();
        let stats = vmalloc.stats();
        self.judge_tally(instance, vmalloc.tally());
        let model = self.models[instance].borrow();
        let known: Vec<(usize, usize)> =
            model.areas.values().map(|area| (area.start, area.pages.len())).collect();
        assert_eq!(found, known, "the areas");
        let mut told = BTreeMap::new();
        vmalloc.for_each_area(|alike| {
            let (areas, pages) = told.entry(alike.kind as u8).or_insert((0, 0));
            (*areas, *pages) = (*areas + alike.areas, *pages + alike.pages);
        });
        assert_eq!(told, model.kinds(), "the areas and pages of each kind that for_each_area tells");
        let mut live = 0;
        vmalloc.for_each_block(|block| {
            live += block.live;
            let states = [block.live, block.parked, block.dirty, block.flushing, block.cached];
            let pages = states.iter().sum::<usize>() + block.guard + block.free;
            assert_eq!(pages, block.blocks * BLOCK_PAGES, "each page of a block once: {block:?}");
        });
        let (present, deferred) = (model.present(), model.deferred_pages());
        assert!(
            (present..=present + deferred).contains(&live),
            "for_each_block tells of {live} pages that are mapped, and {present} are, or {deferred} more"
        );
        let (least, most) = model.pages();
        let used = stats.used();
        self.note(|| format!("{} areas, {used} pages used", known.len()));
        // A guard page behind each shared block costs another block.
        let is_bounded = self.setting.policy().guards == GuardPolicy::BehindAreas;
        assert!(
            least <= used && (used <= most || !is_bounded),
            "{used} pages are used, and {least} to {most} should be: {stats:?}"
        );
        vmalloc.lazy_ranges(|range| {
            // Pages that were depopulated wait, and their area does not.
            for page in range.clone().step_by(PAGE_SIZE) {
                let area = model.at(page).filter(|area| area.kind != Kind::Congruent);
                let start = area.map(|area| area.start);
                assert_eq!(start, None, "{range:#x?} waits for a flush, and is allocated");
            }
        });
        assert!(vmalloc.find_foreign().is_none(), "{:?}", vmalloc.find_foreign());
    }
}
