//! What a simulated CPU remembers of the page tables. It forgets nothing by itself.

extern crate std;

use super::entry::Translation;
use crate::{BLOCK_SHIFT, PAGE_SHIFT};
use std::{collections::BTreeMap, vec::Vec};

/// log2 of the bytes that a directory right above leaf tables maps.
pub(super) const GIB_SHIFT: u32 = 30;

/// A CPU's translations, and the ways in its paging-structure caches.
#[derive(Default)]
pub(super) struct Tlb {
    /// Page number to what walks found there since the page was flushed, the first one first. A CPU uses
    /// whichever it likes; here it is the oldest.
    pages: BTreeMap<usize, Vec<Translation>>,
    /// Block number to the leaf table that a walk found there.
    tables: BTreeMap<usize, u64>,
    /// GiB number to the directory that a walk found there.
    directories: BTreeMap<usize, u64>,
    /// In how many of the translations, and of the ways, each frame is.
    frames: BTreeMap<u64, (usize, usize)>,
}

impl Tlb {
    /// Whether a translation leads to a frame, and whether a way does.
    pub fn reaches(&self, frame: u64) -> (bool, bool) {
        self.frames.get(&frame).map_or((false, false), |&(pages, tables)| (pages > 0, tables > 0))
    }

    /// The translation that the CPU uses for a page, if it has one.
    pub fn translation(&mut self, page: usize) -> Option<&mut Translation> {
        self.pages.get_mut(&page)?.first_mut()
    }

    /// The leaf table of a block, if the CPU has the way to it.
    pub fn table(&self, block: usize) -> Option<u64> {
        self.tables.get(&block).copied()
    }

    /// The directory of a GiB, if the CPU has the way to it.
    pub fn directory(&self, gib: usize) -> Option<u64> {
        self.directories.get(&gib).copied()
    }

    /// All translations with their pages' numbers.
    pub fn translations(&self) -> impl Iterator<Item = (usize, Translation)> {
        self.pages.iter().flat_map(|(&page, found)| found.iter().map(move |&found| (page, found)))
    }

    /// All ways: number of the block, leaf table.
    pub fn tables(&self) -> impl Iterator<Item = (usize, u64)> {
        self.tables.iter().map(|(&block, &table)| (block, table))
    }

    /// Remembers what a walk found, beside what is remembered already.
    pub fn remember(&mut self, cpu: usize, asleep: bool, page: usize, found: Translation) {
        let known = self.pages.entry(page).or_default();
        if add(known, cpu, asleep, page, found) {
            self.frames.entry(found.frame).or_default().0 += 1;
        }
    }

    /// Walks again to each page that there is a translation of, and remembers what it finds there now.
    pub fn observe(&mut self, cpu: usize, asleep: bool, walk: impl Fn(usize) -> Option<Translation>) {
        for (&page, known) in &mut self.pages {
            let found = walk(page << PAGE_SHIFT);
            if let Some(found) = found.filter(|&found| add(known, cpu, asleep, page, found)) {
                self.frames.entry(found.frame).or_default().0 += 1;
            }
        }
    }

    /// Remembers the way to a block's leaf table, to which the CPU has none.
    pub fn remember_table(&mut self, block: usize, table: u64) {
        let known = self.tables.insert(block, table);
        assert_eq!(known, None, "a CPU that has a way looked for another one");
        self.frames.entry(table).or_default().1 += 1;
    }

    /// Remembers the way to the directory of a GiB, to which the CPU has none.
    pub fn remember_directory(&mut self, gib: usize, directory: u64) {
        let known = self.directories.insert(gib, directory);
        assert_eq!(known, None, "a CPU that has a way looked for another one");
        self.frames.entry(directory).or_default().1 += 1;
    }

    /// Forgets one page of 4 KiB. Of a 2 MiB page a CPU may have a translation for each such page, and INVLPG
    /// takes all of them only while the page is mapped as one (Intel SDM 3A, 4.10.2.3).
    pub fn forget(&mut self, address: usize) {
        for found in self.pages.remove(&(address >> PAGE_SHIFT)).into_iter().flatten() {
            self.frames.get_mut(&found.frame).expect("counted").0 -= 1;
        }
    }

    /// Forgets the way to the leaf table of an address.
    pub fn forget_table(&mut self, address: usize) {
        if let Some(table) = self.tables.remove(&(address >> BLOCK_SHIFT)) {
            self.frames.get_mut(&table).expect("counted").1 -= 1;
        }
    }

    fn forget_directory(&mut self, gib: usize) {
        if let Some(directory) = self.directories.remove(&gib) {
            self.frames.get_mut(&directory).expect("counted").1 -= 1;
        }
    }

    /// Forgets the ways to an address.
    pub fn forget_ways(&mut self, address: usize) {
        self.forget_table(address);
        self.forget_directory(address >> GIB_SHIFT);
    }

    /// Forgets all ways.
    pub fn forget_tables(&mut self) {
        let gibs: Vec<usize> = self.directories.keys().copied().collect();
        gibs.into_iter().for_each(|gib| self.forget_directory(gib));
        let blocks: Vec<usize> = self.tables.keys().copied().collect();
        blocks.into_iter().for_each(|block| self.forget_table(block << BLOCK_SHIFT));
    }
}

/// Adds what a walk found to what a CPU knows of a page, unless it knows that already, but for the dirty bit. Returns
/// whether it did not.
fn add(known: &mut Vec<Translation>, cpu: usize, asleep: bool, page: usize, found: Translation) -> bool {
    if let Some(known) = known.iter_mut().find(|known| known.with_dirty(found.dirty) == found) {
        known.dirty |= found.dirty;
        return false;
    }
    for known in known.iter() {
        assert!(
            known.may_stand_beside(found, asleep),
            "CPU {cpu} may have {known:x?} and {found:x?} of page {page:#x} at once",
        );
    }
    known.push(found);
    true
}
