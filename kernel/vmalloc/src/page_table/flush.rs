//! Unmapped, flushed, free: in that order, by type.
//!
//! [`Unflushed`] wraps what CPUs may still reach. Only [`Unflushed::flush`] opens it, and it cannot
//! be dropped unopened. What is inside therefore never returns frames, tables or address space
//! before every CPU has forgotten them.

use crate::{Event, Forbid, PAGE_SHIFT, Platform, Reach, base::Base, types::Caller};
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
    /// Wraps `content`, which was just made unreachable for new walks of `range`, which is page-aligned.
    pub fn new(content: T, range: Range<usize>) -> Self {
        Self { content: Some(content), range, forbid: Forbid::Use }
    }

    /// Wraps `content` where CPUs must not even speculate by what they remember of `range`, because page tables were
    /// unlinked there or 2 MiB pages changed.
    pub fn for_speculation(content: T, range: Range<usize>) -> Self {
        Self { content: Some(content), range, forbid: Forbid::Speculation }
    }

    /// Makes every CPU forget the range, and returns the content. The flush goes page by page up to the
    /// instance's [ceiling](crate::Tunables::single_page_flush_ceiling); a longer range is flushed with
    /// everything else. `caller` is reported as who asked for it.
    pub fn flush<P: Platform>(mut self, base: &Base<P>, caller: Caller) -> T {
        let platform = &base.platform;
        let pages = self.range.len() >> PAGE_SHIFT;
        let few = pages <= base.flush_ceiling();
        base.trace_purging(|| Event::Flush { pages: few.then_some(pages), caller });
        let _pin = platform.pin();
        let shootdown = platform.shootdown();
        if few {
            shootdown.flush_pages(platform, &[self.range.clone()], self.forbid);
        } else {
            shootdown.round(platform, shootdown.stamp(), Reach::Everyone, self.forbid);
        }
        self.content.take().unwrap_or_else(|| unreachable!("opened once, by value"))
    }
}

impl<T> Drop for Unflushed<T> {
    fn drop(&mut self) {
        assert!(self.content.is_none(), "{:#x?} was dropped before it was flushed", self.range);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::tests::{machine::Machine, support::instance};
    use core::{panic::Location, sync::atomic::Ordering};

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
        Unflushed::new((), 0x1000..0x3000).flush(vmalloc.base(), Location::caller());
        assert_eq!((machine.page_flushes(), machine.full_flushes()), (2, 0));
        Unflushed::new((), 0x1000..0x4000).flush(vmalloc.base(), Location::caller());
        assert_eq!((machine.page_flushes(), machine.full_flushes()), (2, 1));
    }
}
