//! Congruent areas: sets at fixed distances, whose pages come and go.

use super::{World, bytes, owned::must_free};
use crate::model::{Area, Page};
use vmalloc::{
    AllocError, BLOCK_SIZE, CongruentArea, CongruentError, CongruentSet, Kind, PAGE_SIZE, PopulateError,
    Protection,
};

impl World<'_> {
    pub(super) fn allocate_congruent(&self, instance: usize, count: u32, sizes: u32, align: u32) {
        let mut offset = if count & 4 == 4 { BLOCK_SIZE } else { 0 };
        let mut asked = Vec::new();
        for index in 0..1 + count % 3 {
            let pages = match sizes >> (index * 5) & 31 {
                few @ 0..24 => 1 + few as usize,
                many => (many as usize - 23) * 130,
            };
            asked.push(CongruentArea { offset, size: bytes(pages) });
            // With its guard page, and sometimes a hole.
            offset += bytes(pages + 1).next_multiple_of(BLOCK_SIZE) + (align as usize >> 8 & 1) * BLOCK_SIZE;
        }
        let align = 1 << (align % 24);
        let made = self.call(instance, |vmalloc| vmalloc.allocate_congruent(&asked, align));
        self.note(|| format!("allocate_congruent {asked:x?}, aligned to {align:#x}: {made:x?}"));
        let set = match made {
            Ok(set) => set,
            Err(CongruentError::Refused(
                AllocError::OutOfFrames { .. }
                | AllocError::OutOfAddressSpace { .. }
                | AllocError::TooLarge { .. },
            )) => {
                return self.disarm();
            }
            Err(error) => panic!("{asked:x?} aligned to {align:#x}: {error}"),
        };
        assert!(set.base().is_multiple_of(align.max(BLOCK_SIZE)), "{set:?} is not aligned to {align:#x}");
        for CongruentArea { offset, size } in asked {
            let page = Page { present: false, ..Page::owned(false, Protection::ReadWrite) };
            let area = Area {
                start: set.base() + offset,
                kind: Kind::Congruent,
                requested: size,
                pages: vec![page; size / PAGE_SIZE],
                behind: 1,
                below: 0,
                huge: false,
                hid: false,
                set: Some(set),
                made: None,
            };
            self.add(instance, area);
        }
    }

    /// A set, if there is one.
    fn set(&self, instance: usize, which: u32) -> Option<CongruentSet> {
        let model = self.models[instance].borrow();
        let start = model.pick(which, |area| area.set.is_some())?;
        model.areas[&start].set
    }

    /// Where the areas of a set are.
    fn areas_of(&self, instance: usize, set: CongruentSet) -> Vec<usize> {
        let model = self.models[instance].borrow();
        model.areas.values().filter(|area| area.set == Some(set)).map(|area| area.start).collect()
    }

    /// Pages, more often than not of few areas of the set.
    fn pages_of(&self, instance: usize, areas: &[usize], first: u32, count: u32) -> std::ops::Range<usize> {
        let model = self.models[instance].borrow();
        let most = areas.iter().map(|area| model.areas[area].pages.len()).max().unwrap_or(0);
        let first = first as usize % (most + 1);
        first..first + count as usize % 40
    }

    /// How many of the pages have a frame, and how many there are.
    fn populated(&self, instance: usize, areas: &[usize], pages: &std::ops::Range<usize>) -> (usize, usize) {
        let model = self.models[instance].borrow();
        let mut counts = (0, 0);
        for page in areas.iter().flat_map(|area| model.areas[area].pages.iter().enumerate()) {
            if pages.contains(&page.0) {
                counts.0 += usize::from(page.1.present);
                counts.1 += 1;
            }
        }
        counts
    }

    pub(super) fn populate(&self, instance: usize, which: u32, first: u32, count: u32) {
        let Some(set) = self.set(instance, which) else { return };
        let areas = self.areas_of(instance, set);
        let pages = self.pages_of(instance, &areas, first, count);
        let (populated, all) = self.populated(instance, &areas, &pages);
        let hidden = self.hide(instance, &areas);
        // SAFETY: the set is allocated, and out of the model, so nobody frees it meanwhile.
        let done = self.call(instance, |vmalloc| unsafe { vmalloc.populate(set, pages.clone()) });
        self.show(instance, hidden);
        self.note(|| format!("populate {set:?}, pages {pages:?}: {done:?}"));
        match done {
            Ok(()) => assert!(all > 0 && populated == 0, "{populated} of {all} pages had frames"),
            Err(PopulateError::BadRange { .. }) => assert_eq!(all, 0),
            Err(PopulateError::Populated { .. }) => assert!(populated > 0),
            Err(PopulateError::OutOfFrames { .. }) => return self.disarm(),
            Err(error) => panic!("{set:?} is not populated: {error}"),
        }
        if done.is_ok() {
            self.set_present(instance, &areas, &pages, true);
        }
    }

    pub(super) fn depopulate(&self, instance: usize, which: u32, first: u32, count: u32) {
        let Some(set) = self.set(instance, which) else { return };
        let areas = self.areas_of(instance, set);
        let pages = self.pages_of(instance, &areas, first, count);
        let (populated, all) = self.populated(instance, &areas, &pages);
        let hidden = self.hide(instance, &areas);
        // SAFETY: as above; nobody uses the pages but simulated CPUs, which may do what they like.
        let done = self.call(instance, |vmalloc| unsafe { vmalloc.depopulate(set, pages.clone()) });
        self.show(instance, hidden);
        self.note(|| format!("depopulate {set:?}, pages {pages:?}: {done:?}"));
        match done {
            Ok(()) => {
                assert!(all > 0 && populated == all, "{populated} of {all} pages had frames");
                self.set_present(instance, &areas, &pages, false);
            }
            Err(PopulateError::BadRange { .. }) => assert_eq!(all, 0),
            Err(PopulateError::NotPopulated { .. }) => assert!(populated < all),
            Err(error) => panic!("{set:?} is not depopulated: {error}"),
        }
    }

    /// Takes the areas of a set out of the model, while a call lasts that others must not meet.
    fn hide(&self, instance: usize, areas: &[usize]) -> Vec<Area> {
        let mut model = self.models[instance].borrow_mut();
        areas.iter().map(|area| model.areas.remove(area).expect("picked")).collect()
    }

    /// Puts them back.
    fn show(&self, instance: usize, areas: Vec<Area>) {
        let mut model = self.models[instance].borrow_mut();
        areas.into_iter().for_each(|area| model.insert(area));
    }

    fn set_present(&self, instance: usize, areas: &[usize], pages: &std::ops::Range<usize>, present: bool) {
        let mut model = self.models[instance].borrow_mut();
        for area in areas {
            let known = &mut model.areas.get_mut(area).expect("picked").pages;
            let end = pages.end.min(known.len());
            let part = pages.start.min(end)..end;
            for page in &mut known[part] {
                *page = Page { present, ..Page::owned(false, Protection::ReadWrite) };
            }
        }
        drop(model);
        for &area in areas {
            if pages.start < self.models[instance].borrow().areas[&area].pages.len() && !pages.is_empty() {
                self.use_at(instance, area, pages.start);
            }
        }
    }

    pub(super) fn free_congruent(&self, instance: usize, which: u32) {
        if let Some(set) = self.set(instance, which) {
            self.free_set(instance, set);
        }
    }

    pub(super) fn free_set(&self, instance: usize, set: CongruentSet) {
        for area in self.areas_of(instance, set) {
            self.models[instance].borrow_mut().remove(area);
        }
        // SAFETY: the set is allocated, and nobody uses it but simulated CPUs, which may do what they like.
        let freed = self.call(instance, |vmalloc| unsafe { vmalloc.free_congruent(set) });
        self.note(|| format!("free_congruent {set:?}: {freed:?}"));
        must_free(freed);
    }
}
