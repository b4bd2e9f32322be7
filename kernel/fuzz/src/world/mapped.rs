//! Areas that show frames of the program's, or a device's: `vmap`, `ioremap`, `vm_map_ram`; and these frames themselves.

use super::{World, at, bytes, owned::is_shortage};
use crate::model::{Area, Page};
use vmalloc::{AllocError, BLOCK_PAGES, Cache, Frame, Kind, PAGE_SIZE, Platform, Protection};

const PROTECTIONS: [Protection; 4] =
    [Protection::ReadWrite, Protection::ReadWrite, Protection::ReadOnly, Protection::ReadExecute];
const CACHES: [Cache; 4] = [Cache::WriteBack, Cache::WriteThrough, Cache::WriteCombining, Cache::Uncached];
/// The first physical address of a device: 4 GiB, behind all memory.
const DEVICE: u64 = 1 << 32;

impl World<'_> {
    /// Takes the frames of the program's.
    pub(super) fn take_own_frames(&self) {
        for _ in 0..self.setting.own_huge {
            let Some(first) = self.machine.take_huge_frame() else { break };
            let mut frames = self.frames.borrow_mut();
            (first.number()..).take(BLOCK_PAGES).for_each(|frame| frames.insert(frame, true));
        }
        self.take_singles(self.setting.own_frames as usize);
    }

    fn take_singles(&self, count: usize) {
        let mut frames = self.frames.borrow_mut();
        self.machine.take_frames(count, |frame| frames.insert(frame.number(), false));
    }

    /// Chooses frames of the program's: contiguous ones, each second one, or some more than once.
    fn choose(&self, count: u32, how: u32) -> Vec<Frame> {
        let known: Vec<u64> = self.frames.borrow().iter().collect();
        if known.is_empty() {
            return Vec::new();
        }
        let count = (count as usize).min(1200);
        let (first, stride) = (how as usize / 8, if how % 8 == 7 { 2 } else { 1 });
        // Whole 2 MiB frames begin with the first.
        let first = if count >= BLOCK_PAGES && how & 1 == 0 { self.first_huge() } else { first };
        (0..count).map(|index| Frame::new(known[(first + index * stride) % known.len()])).collect()
    }

    fn first_huge(&self) -> usize {
        let frames = self.frames.borrow();
        let singles: Vec<u64> = frames.singles().collect();
        frames.iter().position(|frame| singles.binary_search(&frame).is_err()).unwrap_or(0)
    }

    fn map_area(
        &self,
        start: usize,
        kind: Kind,
        frames: &[Frame],
        protection: Protection,
        behind: usize,
    ) -> Area {
        let page =
            |frame: &Frame| Page { frame: Some(frame.number()), word: None, protection, present: true };
        Area {
            start,
            kind,
            requested: bytes(frames.len()),
            pages: frames.iter().map(page).collect(),
            behind,
            below: 0,
            huge: frames.len() >= BLOCK_PAGES,
            hid: false,
            set: None,
            made: None,
        }
    }

    pub(super) fn vmap(&self, instance: usize, count: u32, how: u32, more: u32) {
        let frames = self.choose(count, how);
        let protection = PROTECTIONS[more as usize % 4];
        let made = self.call(instance, |vmalloc| vmalloc.vmap(&frames, protection));
        self.note(|| format!("vmap of {} frames, {protection}: {made:x?}", frames.len()));
        match made {
            Ok(start) => {
                let start = start.as_ptr() as usize;
                self.add(instance, self.map_area(start, Kind::Vmap, &frames, protection, 1));
                self.use_at(instance, start, more as usize / 4 % frames.len());
            }
            Err(AllocError::NoFrames) => assert!(frames.is_empty()),
            Err(error) => self.refused_mapping(instance, error, frames.len(), 1),
        }
    }

    pub(super) fn map_ram(&self, instance: usize, count: u32, how: u32, more: u32) {
        let again = how % 8 == 6;
        let frames = self.choose(if again { 1 } else { count }, how);
        if again {
            // Twice before, so that a CPU has a page behind that of another mapping, and may map the frame there.
            for _ in 0..2 {
                let start = self.map_ram_of(instance, &frames, more);
                // Others may have unmapped it meanwhile.
                if let Some(start) =
                    start.filter(|start| self.models[instance].borrow().areas.contains_key(start))
                {
                    self.unmap_at(instance, start);
                }
            }
        }
        self.map_ram_of(instance, &frames, more);
    }

    fn map_ram_of(&self, instance: usize, frames: &[Frame], more: u32) -> Option<usize> {
        let protection = PROTECTIONS[more as usize % 4];
        let made = self.call(instance, |vmalloc| vmalloc.vm_map_ram(frames, protection));
        self.note(|| format!("vm_map_ram of {} frames, {protection}: {made:x?}", frames.len()));
        match made {
            Ok(start) => {
                let start = start.as_ptr() as usize;
                let behind = usize::from(frames.len() > BLOCK_PAGES);
                self.add(instance, self.map_area(start, Kind::VmMapRam, frames, protection, behind));
                self.use_at(instance, start, more as usize / 4 % frames.len());
                return Some(start);
            }
            Err(AllocError::NoFrames) => assert!(frames.is_empty()),
            Err(error) => {
                self.refused_mapping(instance, error, frames.len(), usize::from(frames.len() > BLOCK_PAGES));
            }
        }
        None
    }

    pub(super) fn unmap_ram(&self, instance: usize, which: u32) {
        let start = self.models[instance].borrow().pick(which, |area| area.kind == Kind::VmMapRam);
        if let Some(start) = start {
            self.unmap_at(instance, start);
        }
    }

    pub(super) fn ioremap(&self, instance: usize, pages: u32, place: u32, more: u32) {
        let pages = pages as usize;
        let offset = if more & 1 == 1 { more as usize % PAGE_SIZE } else { 0 };
        let aligned = if place & 1 == 1 { BLOCK_PAGES as u64 } else { 1 };
        let physical = DEVICE + u64::from(place >> 1) % 8 * aligned * PAGE_SIZE as u64 + offset as u64;
        let size = bytes(pages).saturating_sub(offset);
        let cache = CACHES[place as usize / 16 % 4];
        let made = self.call(instance, |vmalloc| vmalloc.ioremap(physical, size, cache));
        self.note(|| format!("ioremap {physical:#x}, {size} bytes, {cache}: {made:x?}"));
        match made {
            Ok(first) => {
                let first = first.as_ptr() as usize;
                assert_eq!(first % PAGE_SIZE, offset, "where in its page");
                let frame = Frame::new(physical / PAGE_SIZE as u64).number();
                let frames: Vec<Frame> = (frame..).take(pages).map(Frame::new).collect();
                let area = self.map_area(first - offset, Kind::Ioremap, &frames, Protection::ReadWrite, 1);
                self.add(instance, Area { requested: size, ..area });
                self.use_at(instance, first - offset, more as usize / 2 % pages);
            }
            Err(AllocError::ZeroSize) => assert_eq!(size, 0),
            Err(error) => self.refused_mapping(instance, error, pages, 1),
        }
    }

    /// A mapping is refused.
    fn refused_mapping(&self, instance: usize, error: AllocError, pages: usize, guards: usize) {
        assert!(is_shortage(&error), "{pages} pages: {error}");
        self.judge_refusal(
            instance,
            error,
            crate::world::refusal::Asked { pages, frames: 0, guards, align: PAGE_SIZE },
        );
    }

    pub(super) fn unmap(&self, instance: usize, which: u32) {
        let is_it = |kind| kind == Kind::Vmap || kind == Kind::Ioremap;
        let start = self.models[instance].borrow().pick(which, |area| is_it(area.kind));
        if let Some(start) = start {
            self.unmap_at(instance, start);
        }
    }

    /// Unmaps a mapping by the call for its kind, after a look at its last page.
    pub(super) fn unmap_at(&self, instance: usize, start: usize) {
        let last = self.models[instance].borrow().areas[&start].pages.len() - 1;
        self.use_at(instance, start, last);
        let area = self.models[instance].borrow_mut().remove(start).expect("picked");
        let count = area.pages.len();
        // SAFETY: nobody uses the mapping but simulated CPUs, which may do what they like.
        let unmapped = self.call(instance, |vmalloc| unsafe {
            match area.kind {
                Kind::VmMapRam => vmalloc.vm_unmap_ram(at(start), count),
                // Where in its first page a device's registers are does not matter.
                Kind::Ioremap => vmalloc.vunmap(at(start + area.requested % 8)),
                _ => vmalloc.vunmap(at(start)),
            }
        });
        self.note(|| format!("{} {start:#x}, {count} pages: {unmapped:?}", area.kind.freed_by()));
        super::owned::must_free(unmapped);
    }

    /// Frames of the program's that nothing maps go back, which the machine refuses if a CPU can reach one.
    pub(super) fn unmap_aliases(&self) {
        (0..2).for_each(|instance| self.call(instance, |vmalloc| vmalloc.vm_unmap_aliases()));
        let is_mapped = |frame: u64| {
            self.models.iter().any(|model| {
                let model = model.borrow();
                model.areas.values().any(|area| area.pages.iter().any(|page| page.frame == Some(frame)))
            })
        };
        let singles: Vec<u64> = self.frames.borrow().singles().filter(|&frame| !is_mapped(frame)).collect();
        self.note(|| format!("vm_unmap_aliases, {} frames go back", singles.len()));
        if self.moments.get() > 0 {
            // Others may have unmapped since.
            return;
        }
        for &frame in &singles {
            self.frames.borrow_mut().remove(frame);
            self.machine.give_back(Frame::new(frame));
        }
        self.take_singles(singles.len());
    }
}
