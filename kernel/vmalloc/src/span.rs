//! The span of an instance: its range of addresses, counted in pages and in blocks from the start.
//!
//! All arithmetic between addresses, pages and blocks is done here, and nowhere else. A *page* is a number of 4 KiB
//! pages from the start of the range, a *block* a number of 2 MiB blocks.

use crate::{BLOCK_PAGES, BLOCK_SHIFT, BLOCK_SIZE, PAGE_SHIFT, PAGE_SIZE};
use core::ops::Range;

/// The range of addresses of an instance.
pub(crate) struct Span {
    pub range: Range<usize>,
    /// Pages in the range.
    pages: usize,
}

/// Returns how many blocks a run of `pages` pages takes with the guard page behind them.
#[inline]
pub(crate) fn run_blocks(pages: usize) -> usize {
    (pages + 1).div_ceil(BLOCK_PAGES)
}

/// Returns the number, in its block, of the page that an address lies in.
#[inline]
pub(crate) fn page_in_block(address: usize) -> usize {
    address >> PAGE_SHIFT & (BLOCK_PAGES - 1)
}

impl Span {
    /// Makes the span of a range whose ends are multiples of the size of a block.
    pub fn new(range: Range<usize>) -> Self {
        Self { pages: range.len() / PAGE_SIZE, range }
    }

    /// Returns how many blocks the range has.
    #[inline]
    pub fn blocks(&self) -> usize {
        self.pages / BLOCK_PAGES
    }

    /// Returns how many blocks lie between address 0 and the range, so that runs of blocks are aligned as their addresses
    /// are.
    #[inline]
    pub fn blocks_below(&self) -> usize {
        self.range.start >> BLOCK_SHIFT
    }

    /// Returns the page that starts at an address, if it is page-aligned and in the range.
    #[inline(always)]
    pub fn page_starting_at(&self, address: usize) -> Option<usize> {
        // One comparison refuses what is below the range, behind it, or inside a page: the lowest bits of the
        // latter become the highest.
        let page = address.wrapping_sub(self.range.start).rotate_right(PAGE_SHIFT);
        (page < self.pages).then_some(page)
    }

    /// Returns the block that an address of the range lies in. The end of the range is in the block behind the last one.
    #[inline]
    pub fn block_at(&self, address: usize) -> usize {
        (address - self.range.start) >> BLOCK_SHIFT
    }

    /// Returns the block that an address lies in, and the number of its page there; `None` if it is not in the range.
    pub fn place(&self, address: usize) -> Option<(usize, usize)> {
        self.range.contains(&address).then(|| (self.block_at(address), page_in_block(address)))
    }

    /// Returns the first address of a page.
    #[inline]
    pub fn page_address(&self, page: usize) -> usize {
        self.range.start + page * PAGE_SIZE
    }

    /// Returns the first address of page `page` of a block.
    #[inline]
    pub fn address(&self, block: usize, page: usize) -> usize {
        self.range.start + block * BLOCK_SIZE + page * PAGE_SIZE
    }

    /// Returns the blocks that lie as a whole in the addresses `start..end`, of which there may be none.
    pub fn blocks_inside(&self, start: usize, end: usize) -> Range<usize> {
        let offset = |address: usize| address.clamp(self.range.start, self.range.end) - self.range.start;
        offset(start).div_ceil(BLOCK_SIZE)..offset(end) / BLOCK_SIZE
    }

    /// Returns the block, and the page of it, at which a search for the first area at or above an address begins.
    pub fn first_page_above(&self, address: usize) -> (usize, usize) {
        let offset = address.max(self.range.start) - self.range.start;
        let page = offset.div_ceil(PAGE_SIZE);
        (page / BLOCK_PAGES, page % BLOCK_PAGES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen failing with the end of the range taken for a page of it.
    #[test]
    fn addresses_are_placed_as_by_counting_pages() {
        let (start, end) = (5 * BLOCK_SIZE, 7 * BLOCK_SIZE);
        let span = Span::new(start..end);
        assert_eq!((span.blocks(), span.blocks_below()), (2, 5));
        let edges = [start, start + PAGE_SIZE, start + BLOCK_SIZE, end - PAGE_SIZE, end, end + BLOCK_SIZE];
        for address in edges.into_iter().flat_map(|edge| edge - 1..=edge + 1).chain([0, usize::MAX]) {
            let pages = || (start..end).step_by(PAGE_SIZE).enumerate();
            let place = |(page, _)| (page / BLOCK_PAGES, page % BLOCK_PAGES);
            let starting = pages().find(|&(_, first)| first == address);
            assert_eq!(span.page_starting_at(address), starting.map(|(page, _)| page), "{address:#x}");
            let around = pages().find(|&(_, first)| (first..first + PAGE_SIZE).contains(&address));
            assert_eq!(span.place(address), around.map(place), "{address:#x}");
            let above = pages().find(|&(_, first)| first >= address);
            assert!(above.is_none_or(|above| span.first_page_above(address) == place(above)), "{address:#x}");
            assert!(above.is_some() || span.first_page_above(address).0 >= span.blocks());
            let inside = |block: &usize| (address..end).contains(&(start + block * BLOCK_SIZE));
            assert!(span.blocks_inside(address, usize::MAX).eq((0..2).filter(inside)), "{address:#x}");
            let inside = |block: &usize| start + (block + 1) * BLOCK_SIZE <= address;
            assert!(span.blocks_inside(0, address).eq((0..2).filter(inside)), "{address:#x}");
        }
        for (page, first) in (start..end).step_by(PAGE_SIZE).enumerate() {
            let (block, inside) = (page / BLOCK_PAGES, page % BLOCK_PAGES);
            assert_eq!([span.page_address(page), span.address(block, inside)], [first; 2]);
        }
    }
}
