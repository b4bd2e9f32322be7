//! What should be: the areas of an instance and the program's own frames, by the simplest rules there are.

use std::collections::BTreeMap;
use vmalloc::{BLOCK_PAGES, BLOCK_SIZE, CongruentSet, Kind, PAGE_SIZE, Protection};

/// A page of an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The program's frame that it shows; `None` if the area owns its frames.
    pub frame: Option<u64>,
    /// The first word, if it is known: of a page that shows a frame of the program's, the frame knows it.
    pub word: Option<u64>,
    /// What may be done with it.
    pub protection: Protection,
    /// Whether it has a frame.
    pub present: bool,
}

impl Page {
    /// Makes a page that the area owns.
    #[must_use]
    pub fn owned(zeroed: bool, protection: Protection) -> Self {
        Self { frame: None, word: zeroed.then_some(0), protection, present: true }
    }

    /// Returns what the page tables should say: whether it can be written, or `None` if it cannot be accessed.
    #[must_use]
    pub fn writable(&self) -> Option<bool> {
        let is_accessible = self.present && self.protection != Protection::None;
        is_accessible.then_some(self.protection == Protection::ReadWrite)
    }
}

/// An area.
#[derive(Clone, Debug)]
pub struct Area {
    /// First address.
    pub start: usize,
    /// Which call made it.
    pub kind: Kind,
    /// Bytes that were asked for.
    pub requested: usize,
    /// Its pages.
    pub pages: Vec<Page>,
    /// Guard pages behind it.
    pub behind: usize,
    /// Guard pages below it.
    pub below: usize,
    /// Whether a 2 MiB page may have to be split to change a part of it.
    pub huge: bool,
    /// Whether a page was ever one that nobody may access.
    pub hid: bool,
    /// The set that it is one of, by its place among all sets of the instance.
    pub set: Option<CongruentSet>,
    /// When it was made or resized, in milliseconds of the instance's clock; `None` until it is in the model.
    pub made: Option<u64>,
}

impl Area {
    /// Returns the first address behind its own pages.
    #[must_use]
    pub fn end(&self) -> usize {
        self.start + self.pages.len() * PAGE_SIZE
    }

    /// Returns the addresses that nobody else may have, guard pages included.
    #[must_use]
    pub fn extent(&self) -> std::ops::Range<usize> {
        self.start - self.below * PAGE_SIZE..self.end() + self.behind * PAGE_SIZE
    }
}

/// The areas of an instance.
#[derive(Debug, Default)]
pub struct Model {
    /// By their first addresses.
    pub areas: BTreeMap<usize, Area>,
    /// Where areas were freed, the last ones.
    pub freed: Vec<usize>,
    /// What interrupt handlers freed, which may stay mapped until a purge.
    pub deferred: Vec<std::ops::Range<usize>>,
    /// What the instance's clock says, in milliseconds.
    pub clock: u64,
    /// The purge notifiers that are registered, some more than once perhaps.
    pub notifiers: Vec<usize>,
}

impl Model {
    /// Adds an area, which must not lie where another one does.
    ///
    /// # Panics
    /// If it does.
    pub fn insert(&mut self, area: Area) {
        let extent = area.extent();
        // No area is longer than the farthest back that one could begin, so all are looked at.
        for other in self.areas.values() {
            let other = other.extent();
            assert!(
                extent.end <= other.start || other.end <= extent.start,
                "{extent:#x?} was allocated, where {other:#x?} is"
            );
        }
        self.areas.insert(area.start, area);
    }

    /// Takes an area out, and remembers where it was.
    pub fn remove(&mut self, start: usize) -> Option<Area> {
        let area = self.areas.remove(&start)?;
        self.freed.push(start);
        if self.freed.len() > 16 {
            self.freed.remove(0);
        }
        Some(area)
    }

    /// Returns the address of an area of which `is_wanted`, by a number; `None` if there is none.
    pub fn pick(&self, number: u32, is_wanted: impl Fn(&Area) -> bool) -> Option<usize> {
        let count = self.areas.values().filter(|area| is_wanted(area)).count();
        let index = number as usize % count.max(1);
        self.areas.values().filter(|area| is_wanted(area)).nth(index).map(|area| area.start)
    }

    /// Returns the area in whose own pages, or guard pages, an address lies.
    #[must_use]
    pub fn at(&self, address: usize) -> Option<&Area> {
        self.areas.values().find(|area| area.extent().contains(&address))
    }

    /// Returns the frames that the areas own.
    #[must_use]
    pub fn frames(&self) -> usize {
        let pages = self.areas.values().flat_map(|area| &area.pages);
        pages.filter(|page| page.present && page.frame.is_none()).count()
    }

    /// Returns how many pages of the areas have a frame, whoever owns it.
    #[must_use]
    pub fn present(&self) -> usize {
        self.areas.values().flat_map(|area| &area.pages).filter(|page| page.present).count()
    }

    /// Returns how many pages interrupt handlers freed that may stay mapped until a purge.
    #[must_use]
    pub fn deferred_pages(&self) -> usize {
        self.deferred.iter().map(|range| range.len() / PAGE_SIZE).sum()
    }

    /// Returns how many areas, and pages of them, there are of each kind, by its number.
    #[must_use]
    pub fn kinds(&self) -> BTreeMap<u8, (usize, usize)> {
        let mut kinds = BTreeMap::new();
        for area in self.areas.values() {
            let (areas, pages) = kinds.entry(area.kind as u8).or_insert((0, 0));
            (*areas, *pages) = (*areas + 1, *pages + area.pages.len());
        }
        kinds
    }

    /// Returns, for each block of the range, whether an area has something in it.
    #[must_use]
    pub fn used_blocks(&self, range: &std::ops::Range<usize>) -> Vec<bool> {
        let mut used = vec![false; range.len() / BLOCK_SIZE];
        for area in self.areas.values() {
            let extent = area.extent();
            let first = (extent.start - range.start) / BLOCK_SIZE;
            let behind = (extent.end - range.start).div_ceil(BLOCK_SIZE);
            used[first..behind].fill(true);
        }
        used
    }

    /// Returns whether a block that areas share for sure has a gap of so many bytes at a multiple of `align`: all areas in it lie
    /// in it entirely, and one of them does not begin it.
    #[must_use]
    pub fn has_gap(&self, range: &std::ops::Range<usize>, bytes: usize, align: usize) -> bool {
        range.clone().step_by(BLOCK_SIZE).any(|block| {
            let end = block + BLOCK_SIZE;
            let areas =
                || self.areas.values().filter(|area| area.extent().start < end && area.extent().end > block);
            let is_shared = areas()
                .all(|area| area.set.is_none() && area.extent().start >= block && area.extent().end <= end)
                && areas().any(|area| area.start != block);
            let ends = areas().map(|area| area.extent().end).chain([block]);
            let is_free = |gap: usize| {
                gap + bytes <= end
                    && areas().all(|area| area.extent().end <= gap || area.extent().start >= gap + bytes)
            };
            is_shared && ends.map(|end| end.next_multiple_of(align)).any(is_free)
        })
    }

    /// Returns how many pages the areas have, guard pages included; and how many they have if each that begins a block, or
    /// does not fit in half a one, has whole blocks.
    #[must_use]
    pub fn pages(&self) -> (usize, usize) {
        let mut both = (0, 0);
        for area in self.areas.values() {
            let pages = area.extent().len() / PAGE_SIZE;
            both.0 += pages;
            both.1 += if area.start.is_multiple_of(BLOCK_SIZE) || pages > BLOCK_PAGES / 2 {
                (area.extent().len().div_ceil(BLOCK_SIZE) + 1) * BLOCK_PAGES
            } else {
                pages
            };
        }
        both
    }
}

/// The program's own frames: first word, if it is known, and whether the whole of a 2 MiB frame was taken with it.
#[derive(Debug, Default)]
pub struct Frames(BTreeMap<u64, (Option<u64>, bool)>);

impl Frames {
    /// Adds a frame that was taken from the machine.
    pub fn insert(&mut self, frame: u64, huge: bool) {
        assert!(self.0.insert(frame, (None, huge)).is_none(), "frame {frame:#x} was given twice");
    }

    /// Takes a frame out, to give it back.
    pub fn remove(&mut self, frame: u64) {
        self.0.remove(&frame);
    }

    /// Returns the first word of a frame, if it is known.
    #[must_use]
    pub fn word(&self, frame: u64) -> Option<u64> {
        self.0.get(&frame)?.0
    }

    /// Says what the first word of a frame is.
    pub fn set(&mut self, frame: u64, word: u64) {
        if let Some(known) = self.0.get_mut(&frame) {
            known.0 = Some(word);
        }
    }

    /// Returns all frames in their order.
    pub fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.keys().copied()
    }

    /// Returns the single frames in their order.
    pub fn singles(&self) -> impl Iterator<Item = u64> {
        self.0.iter().filter(|(_, (_, huge))| !huge).map(|(&frame, _)| frame)
    }

    /// Returns how many frames there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}
