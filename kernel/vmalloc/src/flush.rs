//! Unmapped, flushed, free: in that order, by type.
//!
//! [`Unflushed`] wraps what CPUs may still reach. Only [`Unflushed::flush`] opens it, and it cannot
//! be dropped unopened. What is inside therefore never returns frames, tables or address space
//! before every CPU has forgotten them.

use crate::platform::{FlushRequest, PAGE_SHIFT, PAGE_SIZE, Platform};
use core::ops::Range;

/// Something that CPUs may still reach by old translations of `range`.
#[must_use = "what it holds is lost to everybody until it is flushed"]
pub(crate) struct Unflushed<T> {
    /// Taken only by `flush`.
    content: Option<T>,
    range: Range<usize>,
}

impl<T> Unflushed<T> {
    /// `content` was just made unreachable for new walks of `range`, which is page-aligned.
    pub fn new(content: T, range: Range<usize>) -> Self {
        Self { content: Some(content), range }
    }

    /// Makes every CPU forget the range: page by page up to `ceiling` pages, above it all at once.
    pub fn flush<P: Platform>(self, platform: &P, ceiling: usize) -> T {
        let range = self.range.clone();
        if range.len() >> PAGE_SHIFT <= ceiling {
            platform.flush(FlushRequest::Pages(&[range]));
        } else {
            platform.flush(FlushRequest::All);
        }
        self.open()
    }

    /// For a range whose pages are flushed and whose directory entry was cleared since: makes every
    /// CPU forget the way to the leaf table. Flushing one address in the range does that: INVLPG
    /// empties all paging-structure caches (Intel SDM 3A, 4.10.4.1; AMD with EFER.TCE clear).
    pub fn flush_directory<P: Platform>(self, platform: &P) -> T {
        let first = self.range.start..self.range.start + PAGE_SIZE;
        platform.flush(FlushRequest::Pages(&[first]));
        self.open()
    }

    fn open(mut self) -> T {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Machine;

    #[test]
    #[should_panic(expected = "dropped before it was flushed")]
    fn an_unflushed_batch_cannot_be_dropped() {
        drop(Unflushed::new((), 0x1000..0x2000));
    }

    #[test]
    fn the_ceiling_decides_between_pages_and_all() {
        let machine = Machine::new(1, 16);
        Unflushed::new((), 0x1000..0x3000).flush(&&machine, 2);
        assert_eq!((machine.page_flushes(), machine.full_flushes()), (2, 0));
        Unflushed::new((), 0x1000..0x4000).flush(&&machine, 2);
        assert_eq!((machine.page_flushes(), machine.full_flushes()), (2, 1));
    }
}
