//! Unmapped, flushed, free: in that order, by type.
//!
//! [`Unflushed`] wraps what CPUs may still reach. Only [`Unflushed::flush`] opens it, and it cannot
//! be dropped unopened. What is inside therefore never returns frames, tables or address space
//! before every CPU has forgotten them.

use crate::{
    Vmalloc,
    platform::{PAGE_SHIFT, PAGE_SIZE, Platform},
    tlb::shootdown::{Forbid, Reach},
};
use core::ops::Range;

/// Something that CPUs may still reach by old translations of `range`.
#[must_use = "what it holds is lost to everybody until it is flushed"]
pub(crate) struct Unflushed<T> {
    /// Taken only by `flush`.
    content: Option<T>,
    range: Range<usize>,
    forbid: Forbid,
}

impl<T> Unflushed<T> {
    /// `content` was just made unreachable for new walks of `range`, which is page-aligned.
    pub fn new(content: T, range: Range<usize>) -> Self {
        Self { content: Some(content), range, forbid: Forbid::Use }
    }

    /// As [`new`](Self::new), where CPUs must not even speculate by what they remember of `range`: page tables were
    /// unlinked there, or 2 MiB pages changed.
    pub fn for_speculation(content: T, range: Range<usize>) -> Self {
        Self { content: Some(content), range, forbid: Forbid::Speculation }
    }

    /// Makes every CPU forget the range: page by page up to the instance's ceiling, above it all at once.
    pub fn flush<P: Platform>(mut self, vmalloc: &Vmalloc<P>) -> T {
        let platform = vmalloc.platform();
        let pages = self.range.len() >> PAGE_SHIFT;
        let few = pages <= vmalloc.flush_ceiling();
        vmalloc.trace_flush(few.then_some(pages));
        let _pin = platform.pin();
        let shootdown = platform.shootdown();
        if few {
            shootdown.flush_pages(platform, &[self.range.clone()], self.forbid);
        } else {
            shootdown.round(platform, shootdown.stamp(), Reach::Everyone, self.forbid);
        }
        match self.content.take() {
            Some(content) => content,
            None => unreachable!("opened once, by value"),
        }
    }
}

impl<T> Drop for Unflushed<T> {
    fn drop(&mut self) {
        assert!(self.content.is_none(), "{:#x?} was dropped before it was flushed", self.range);
    }
}

/// Ranges that hold few enough pages to be flushed one by one, or the knowledge that they do not.
pub(crate) struct Ranges {
    list: [Range<usize>; Self::MOST],
    count: usize,
    pages: usize,
    ceiling: usize,
    forbid: Forbid,
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

    /// CPUs must not even speculate by what they remember of the ranges.
    pub fn forbid_speculation(&mut self) {
        self.forbid = Forbid::Speculation;
    }

    /// What CPUs must not do any more in the ranges.
    pub fn forbid(&self) -> Forbid {
        self.forbid
    }

    /// All of them.
    pub fn pages(&self) -> usize {
        self.pages
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{tests::basics::instance, tests::machine::Machine};
    use core::sync::atomic::Ordering;

    #[test]
    #[should_panic(expected = "dropped before it was flushed")]
    fn an_unflushed_batch_cannot_be_dropped() {
        drop(Unflushed::new((), 0x1000..0x2000));
    }

    #[test]
    fn the_ceiling_decides_between_pages_and_all() {
        let machine = Machine::new(1, 16);
        let vmalloc = instance(&machine, 1);
        vmalloc.tunables().single_page_flush_ceiling.store(2, Ordering::Relaxed);
        Unflushed::new((), 0x1000..0x3000).flush(&vmalloc);
        assert_eq!((machine.page_flushes(), machine.full_flushes()), (2, 0));
        Unflushed::new((), 0x1000..0x4000).flush(&vmalloc);
        assert_eq!((machine.page_flushes(), machine.full_flushes()), (2, 1));
    }

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
