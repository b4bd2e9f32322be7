//! Areas that own their frames: allocated, used, resized, protected, freed.

use super::{World, at, bytes};
use crate::model::{Area, Page};
use vmalloc::{
    AllocError, FreeError, Kind, PAGE_SIZE, Platform, ProtectError, Protection, ReallocError, Request,
    host::PageFault,
};

/// What most pages may be, and what few may.
const PROTECTIONS: [Protection; 8] = [
    Protection::ReadWrite,
    Protection::ReadOnly,
    Protection::ReadExecute,
    Protection::ReadWrite,
    Protection::None,
    Protection::ReadWrite,
    Protection::ReadOnly,
    Protection::ReadWrite,
];

impl World<'_> {
    pub(super) fn allocate(&self, instance: usize, pages: u32, flags: u32, more: u32) {
        let pages = pages as usize;
        let flag = |bit: u32| flags >> bit & 1 == 1;
        // Bytes that are not asked for in the last page.
        let slack = if pages > 0 && flag(0) && flag(1) { more as usize % (PAGE_SIZE - 8) } else { 0 };
        let requested = bytes(pages) - slack;
        let (zeroed, huge) = (flag(2), flag(3) && flag(4));
        let protection =
            if flags >> 5 & 7 == 7 { PROTECTIONS[more as usize % 8] } else { Protection::ReadWrite };
        let align = if flags >> 8 & 7 == 7 { PAGE_SIZE << (more % 12) } else { PAGE_SIZE };
        let below = flags >> 11 & 7 == 7;
        let no_wait = flags >> 14 & 3 == 3;
        let mut request = Request::new(requested).align(align).protection(protection);
        request = if zeroed { request.zeroed() } else { request };
        request = if huge { request.huge() } else { request };
        request = if below { request.guard_below() } else { request };
        request = if no_wait { request.no_wait() } else { request };
        let range = self.setting.range(instance);
        let within = more >> 12 & 15 == 15;
        if within {
            let blocks = range.len() / vmalloc::BLOCK_SIZE;
            let first = range.start + more as usize % blocks * vmalloc::BLOCK_SIZE;
            request = request.within(first, range.end);
        }
        let made = self.call(instance, |vmalloc| vmalloc.allocate(request));
        self.note(|| format!("{request:?}: {made:x?}"));
        let start = match made {
            Ok(start) => start.as_ptr() as usize,
            Err(error) => {
                assert!(pages > 0 || matches!(error, AllocError::ZeroSize), "0 pages: {error}");
                return self.refused(instance, error, request, pages, align, below, within || no_wait);
            }
        };
        assert!(start.is_multiple_of(align), "{start:#x} is not aligned to {align:#x}");
        let mut area = self.owned(instance, start, requested, Page::owned(zeroed, protection));
        assert_eq!(area.below > 0, below, "the guard page below");
        area.huge |= huge;
        self.add(instance, area);
        if zeroed && protection != Protection::None {
            // All of one page, and the first word of each that is used later.
            let page = start + bytes(more as usize % pages);
            let mut found = [1; PAGE_SIZE];
            self.machine.read_bytes(page, &mut found).expect("it is mapped");
            // What is behind the bytes asked for may be filled.
            let end = (start + requested - page).min(PAGE_SIZE);
            assert!(found[..end].iter().all(|&byte| byte == 0), "the page at {page:#x} is not full of zeros");
        }
        if more & 1 == 1 {
            self.use_at(instance, start, more as usize / 2 % pages);
        }
    }

    /// What an area should be that was just allocated.
    pub(super) fn owned(&self, instance: usize, start: usize, requested: usize, page: Page) -> Area {
        let info = self.instance(instance).find_area(start).expect("it was just allocated");
        Area {
            start,
            kind: Kind::Vmalloc,
            requested,
            pages: vec![page; requested.div_ceil(PAGE_SIZE)],
            behind: 1,
            below: info.guard_below,
            huge: info.huge_pages > 0,
            hid: page.protection == Protection::None,
            set: None,
            made: None,
        }
    }

    pub(super) fn free(&self, instance: usize, which: u32) {
        let start = self.models[instance].borrow().pick(which, |area| area.kind == Kind::Vmalloc);
        if let Some(start) = start {
            self.free_at(instance, start);
        }
    }

    /// Frees an area after a look at one of its pages.
    pub(super) fn free_at(&self, instance: usize, start: usize) {
        self.use_at(instance, start, 0);
        let area = self.models[instance].borrow_mut().remove(start).expect("picked");
        // SAFETY: nobody uses the area but simulated CPUs, which may do what they like.
        let freed = self.call(instance, |vmalloc| unsafe { vmalloc.vfree(at(start)) });
        self.note(|| format!("vfree {start:#x}, {} pages: {freed:?}", area.pages.len()));
        if let Err(error) = freed {
            panic!("an area is not freed: {error}");
        }
    }

    pub(super) fn resize(&self, instance: usize, which: u32, pages: u32, more: u32) {
        let start = self.models[instance].borrow().pick(which, |area| area.kind == Kind::Vmalloc);
        let Some(start) = start else { return };
        let pages = pages as usize;
        let slack = if pages > 0 && more & 3 == 3 { more as usize % (PAGE_SIZE - 8) } else { 0 };
        let size = bytes(pages) - slack;
        let mut area = self.models[instance].borrow_mut().areas.remove(&start).expect("picked");
        // SAFETY: the area is not in the model meanwhile, so nobody uses it.
        let resized = self.call(instance, |vmalloc| unsafe { vmalloc.vrealloc(at(start), size) });
        self.note(|| format!("vrealloc {start:#x}, {} pages, to {pages}: {resized:x?}", area.pages.len()));
        let hides = area.pages.iter().any(|page| page.protection == Protection::None);
        match resized {
            Ok(now) => {
                assert!(!hides, "an area with pages that nobody may access was resized");
                assert!(pages > 0, "an area of no pages");
                self.resized(instance, &mut area, now.as_ptr() as usize, size);
            }
            Err(ReallocError::Inaccessible { .. }) => assert!(area.hid, "no page was ever inaccessible"),
            Err(ReallocError::Size(AllocError::ZeroSize)) => assert_eq!(pages, 0),
            Err(ReallocError::Size(error)) => {
                assert!(pages > 0 && is_shortage(&error), "{error}");
                self.disarm();
            }
            Err(error) => panic!("an area is not resized: {error}"),
        }
        let (start, last) = (area.start, area.pages.len() - 1);
        self.add(instance, area);
        self.use_at(instance, start, more as usize / 4 % (last + 1));
        self.use_at(instance, start, last);
    }

    /// What an area should be that was just resized.
    pub(super) fn resized(&self, instance: usize, area: &mut Area, start: usize, size: usize) {
        let growth = area.pages.last().expect("no area is empty").protection;
        area.pages.resize(size.div_ceil(PAGE_SIZE), Page::owned(false, growth));
        let info = self.instance(instance).find_area(start).expect("it was just resized");
        assert_eq!(info.guard_below > 0, area.below > 0, "the guard page below");
        (area.start, area.requested, area.below) = (start, size, info.guard_below);
        (area.hid, area.made) = (false, None);
    }

    pub(super) fn protect(&self, instance: usize, which: u32, part: u32, how: u32) {
        let start = self.models[instance].borrow().pick(which, |area| area.kind != Kind::Congruent);
        let Some(start) = start else { return };
        let mut area = self.models[instance].borrow_mut().areas.remove(&start).expect("picked");
        let count = area.pages.len();
        let first = part as usize / 16 % count;
        let range = match part % 4 {
            0 => 0..count,
            1 => first..count,
            2 => first..(first + 1 + how as usize / 8 % 12).min(count),
            _ if count >= vmalloc::BLOCK_PAGES => 0..vmalloc::BLOCK_PAGES,
            _ => first..first + 1,
        };
        let protection = PROTECTIONS[how as usize % 8];
        let (from, size) = (start + bytes(range.start), bytes(range.len()));
        // SAFETY: simulated CPUs count on nothing.
        let done =
            self.call(instance, |vmalloc| unsafe { vmalloc.set_protection(at(from), size, protection) });
        self.note(|| format!("set_protection {from:#x}, {} pages, {protection}: {done:?}", range.len()));
        let must_refuse = protection == Protection::None && area.kind != Kind::Vmalloc;
        match done {
            Ok(()) => {
                assert!(!must_refuse, "frames of the program's were hidden");
                area.hid |= protection == Protection::None;
                if range.len() == count && protection != Protection::None {
                    area.hid = false;
                }
                area.pages[range.clone()].iter_mut().for_each(|page| page.protection = protection);
            }
            Err(ProtectError::WrongKind { .. }) => assert!(must_refuse, "a protection is refused"),
            Err(ProtectError::OutOfFrames) => {
                assert!(area.huge, "out of frames where nothing is split");
                self.disarm();
            }
            Err(error) => panic!("an area is not protected: {error}"),
        }
        self.models[instance].borrow_mut().insert(area);
        self.use_at(instance, start, range.start);
        self.use_at(instance, start, range.end - 1);
        self.use_at(instance, start, how as usize % count);
    }

    pub(super) fn use_page(&self, instance: usize, which: u32, page: u32) {
        let start = self.models[instance].borrow().pick(which, |_| true);
        if let Some(start) = start {
            let count = self.models[instance].borrow().areas[&start].pages.len();
            self.use_at(instance, start, page as usize % count);
        }
    }

    /// Has the CPU that runs read a page, and write it: it finds what was written last, and faults where it must.
    pub(super) fn use_at(&self, instance: usize, start: usize, page: usize) {
        let model = self.models[instance].borrow();
        let area = &model.areas[&start];
        let (kind, known) = (area.kind, area.pages[page]);
        drop(model);
        let address = start + bytes(page);
        assert_eq!(
            self.machine.writable(address),
            known.writable(),
            "page {page} of {start:#x}, by the page tables"
        );
        if kind == Kind::Ioremap {
            return self.machine.touch(address).expect("it is mapped");
        }
        let Some(writable) = known.writable() else {
            // Of a page that was depopulated a CPU may have a translation still.
            if known.present {
                assert_eq!(
                    self.machine.touch(address),
                    Err(PageFault),
                    "page {page} of {start:#x} can be accessed"
                );
            }
            return;
        };
        let mut word = [0; 8];
        self.machine.read_bytes(address, &mut word).expect("it is mapped");
        let found = u64::from_ne_bytes(word);
        let expected = match known.frame {
            Some(frame) => self.frames.borrow().word(frame),
            None => known.word,
        };
        assert_eq!(expected.unwrap_or(found), found, "what is in page {page} of {start:#x}");
        let value = self.value();
        let written = self.machine.write_bytes(address, &value.to_ne_bytes());
        assert_eq!(written.is_ok(), writable, "page {page} of {start:#x}, by a CPU");
        if writable {
            self.wrote(instance, start, page, value);
        }
    }

    /// Notes the first word of a page.
    fn wrote(&self, instance: usize, start: usize, page: usize, value: u64) {
        let mut model = self.models[instance].borrow_mut();
        let page = &mut model.areas.get_mut(&start).expect("used")[page];
        match page.frame {
            Some(frame) => self.frames.borrow_mut().set(frame, value),
            None => page.word = Some(value),
        }
    }

    pub(super) fn use_frame(&self, instance: usize, which: u32, page: u32) {
        let start = self.models[instance].borrow().pick(which, |area| area.kind == Kind::Vmalloc);
        let Some(start) = start else { return };
        let page = page as usize % self.models[instance].borrow().areas[&start].pages.len();
        let frame = self.instance(instance).frame_at(start + bytes(page)).expect("it has a frame");
        let place = self.machine.direct_map(frame);
        let value = self.value();
        // SAFETY: simulated memory, of an area that is allocated.
        unsafe { place.cast::<u64>().write(value) };
        self.wrote(instance, start, page, value);
    }
}

/// Whether an allocation may be refused so at any time.
pub(super) fn is_shortage(error: &AllocError) -> bool {
    matches!(
        error,
        AllocError::OutOfFrames { .. }
            | AllocError::OutOfAddressSpace { .. }
            | AllocError::TooLarge { .. }
            | AllocError::BadRange { .. }
    )
}

/// Panics, because a free was refused that must not be.
pub(super) fn must_free(result: Result<(), FreeError>) {
    if let Err(error) = result {
        panic!("it is not freed: {error}");
    }
}

impl std::ops::Index<usize> for Area {
    type Output = Page;

    fn index(&self, page: usize) -> &Page {
        &self.pages[page]
    }
}

impl std::ops::IndexMut<usize> for Area {
    fn index_mut(&mut self, page: usize) -> &mut Page {
        &mut self.pages[page]
    }
}
