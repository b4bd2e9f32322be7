//! The ranges that a purge flushes: few pages one by one, more by flushing everything.

use crate::{Forbid, PAGE_SIZE};
use core::ops::Range;

/// Ranges that hold few enough pages to be flushed one by one, or the knowledge that they do not.
pub(crate) struct Ranges {
    list: [Range<usize>; Self::MOST],
    count: usize,
    /// All pages that were added.
    pub pages: usize,
    ceiling: usize,
    /// What CPUs must not do any more in the ranges.
    pub forbid: Forbid,
}

impl Ranges {
    const MOST: usize = 8;

    /// No ranges; up to `ceiling` pages are flushed one by one.
    pub fn new(ceiling: usize) -> Self {
        Self { list: [const { 0..0 }; Self::MOST], count: 0, pages: 0, ceiling, forbid: Forbid::Use }
    }

    /// Adds `pages` pages from `start`.
    pub fn add(&mut self, start: usize, pages: usize) {
        self.pages = self.pages.saturating_add(pages);
        if let Some(range) = self.list.get_mut(self.count) {
            *range = start..start + pages.min(self.ceiling) * PAGE_SIZE;
        }
        self.count += 1;
    }

    /// Whether each is known and they are to be flushed page by page. Once it is not so, more need not be
    /// added: everything will be flushed.
    pub fn are_few(&self) -> bool {
        self.pages <= self.ceiling && self.count <= Self::MOST
    }

    /// The ranges; `None` if everything has to be flushed.
    pub fn exact(&self) -> Option<&[Range<usize>]> {
        if self.are_few() { self.list.get(..self.count) } else { None }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_exact_up_to_their_ceiling() {
        let mut ranges = Ranges::new(10);
        assert_eq!(ranges.exact(), Some(&[][..]));
        ranges.add(0x1000, 4);
        ranges.add(0x9000, 6);
        assert_eq!(ranges.exact(), Some(&[0x1000..0x5000, 0x9000..0xf000][..]));
        ranges.add(0x2_0000, 1);
        assert_eq!(ranges.exact(), None);
        let mut many = Ranges::new(100);
        (0..Ranges::MOST).for_each(|page| many.add(page * 0x2000, 1));
        assert_eq!(many.exact().map(<[_]>::len), Some(Ranges::MOST));
        assert!(many.are_few(), "the next one must be added");
        many.add(0, 1);
        assert_eq!(many.exact(), None);
    }
}
