//! A chunk: the pages of a unit, which of them are used, and which have frames.

use crate::{NONE, PAGES, bits::Bits, row::Row};
use alloc::{collections::TryReserveError, vec::Vec};
use core::ops::Range;

/// A bit for each page, and one more.
pub(crate) type PageBits = Bits<8>;

/// See the module's documentation. `C` names the chunk to its owner.
#[derive(Debug)]
pub struct Chunk<C> {
    pub(crate) name: C,
    pub(crate) rows: Vec<Row>,
    used: PageBits,
    populated: PageBits,
    used_count: usize,
}

impl<C> Chunk<C> {
    /// A chunk in which nothing is used, and that has no frames.
    ///
    /// # Errors
    /// No memory for its records, some 50 bytes a page.
    pub fn new(name: C) -> Result<Self, TryReserveError> {
        let mut rows = Vec::new();
        rows.try_reserve_exact(PAGES)?;
        rows.resize(PAGES, Row::EMPTY);
        let mut used = PageBits::NONE;
        used.set(PAGES, PageBits::LEN - PAGES);
        Ok(Self { name, rows, used, populated: PageBits::NONE, used_count: 0 })
    }

    /// What the owner calls it.
    pub fn name(&self) -> &C {
        &self.name
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used_count == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.used_count == PAGES
    }

    /// The lowest page that is not used: one with a frame if there is any, else with those behind it that
    /// are not used either, up to `ahead`.
    pub(crate) fn find_one(&self, ahead: usize) -> Option<Range<usize>> {
        let ready = self.populated.without(&self.used).next_set(0);
        if ready < PageBits::LEN {
            return Some(ready..ready + 1);
        }
        let start = self.used.next_clear(0);
        (start < PageBits::LEN).then(|| start..self.used.next_set(start).min(start + ahead))
    }

    /// The run of pages around `page`, at most `most`, that have frames and of which it alone is used.
    pub(crate) fn idle_around(&self, page: usize, most: usize) -> Range<usize> {
        let is_idle = |page: &usize| self.populated.has(*page) && !self.used.has(*page);
        let below = (0..page).rev().take(most - 1).take_while(is_idle).count();
        let above = (page + 1..PAGES).take(most - 1 - below).take_while(is_idle).count();
        page - below..page + above + 1
    }

    /// The lowest run of `count` pages that are not used.
    pub(crate) fn find(&self, count: usize) -> Option<Range<usize>> {
        let mut from = 0;
        loop {
            let start = self.used.next_clear(from);
            if start == PageBits::LEN {
                return None;
            }
            from = self.used.next_set(start);
            if from - start >= count {
                return Some(start..start + count);
            }
        }
    }

    pub(crate) fn mark_used(&mut self, pages: &Range<usize>) {
        self.used.set(pages.start, pages.len());
        self.used_count += pages.len();
    }

    pub(crate) fn mark_free(&mut self, pages: &Range<usize>) {
        self.used.clear(pages.start, pages.len());
        self.used_count -= pages.len();
    }

    /// Those of these pages that have no frames.
    pub(crate) fn missing(&self, pages: &Range<usize>) -> PageBits {
        let mut missing = PageBits::NONE;
        missing.set(pages.start, pages.len());
        missing.without(&self.populated)
    }

    /// All of these pages have frames now, or none has.
    pub(crate) fn set_populated(&mut self, pages: &Range<usize>, populated: bool) {
        for page in pages.clone() {
            if self.populated.has(page) && !populated {
                self.populated.clear(page, 1);
            } else if !self.populated.has(page) && populated {
                self.populated.set(page, 1);
            }
        }
    }

    /// Pages that have frames, and that nobody uses.
    pub(crate) fn spare(&self) -> usize {
        self.populated.without(&self.used).count()
    }
}

/// Where in which chunk a page is; [`NONE`] is none.
pub(crate) fn id(chunk: usize, page: usize) -> u32 {
    (chunk * PageBits::LEN + page) as u32
}

/// The chunk and the page of an [`id`].
#[inline]
pub(crate) fn place(id: u32) -> (usize, usize) {
    (id as usize / PageBits::LEN, id as usize % PageBits::LEN)
}

const _: () = assert!(PAGES < PageBits::LEN && crate::CHUNKS * PageBits::LEN < NONE as usize);
