//! Finding the descriptors of blocks: by number, by address, all of them.

use super::{Block, Blocks, table::Reader};
use crate::{BLOCK_PAGES, Platform, page_table::Slots};
use core::iter;

/// A read-side section: interrupts are off while it lasts, so that no flush and no grace period that begins meanwhile
/// is over before it ends.
pub(crate) struct ReadSide(());

impl Reader for ReadSide {}

impl<P: Platform> Blocks<P> {
    /// Returns the descriptor of a block that the caller has for as long as the result is used. It was made.
    #[inline]
    pub fn block(&self, number: usize) -> &Block {
        let Some(block) = self.find_owned(number) else { unreachable!("block {number} has a descriptor") };
        block
    }

    /// Returns the descriptor of a block that the caller has for as long as the result is used; `None` if it was not made
    /// yet.
    #[inline]
    pub fn find_owned(&self, number: usize) -> Option<&Block> {
        // SAFETY: the caller has the block for as long as the result is used, as the documentation says.
        unsafe { self.table.get_owned(number) }
    }

    /// Returns the descriptor of a block that the caller need not have; `None` means that the block is free.
    #[inline]
    pub fn find<'a>(&'a self, number: usize, reader: &'a impl Reader) -> Option<&'a Block> {
        self.table.get(number, reader)
    }

    /// Returns the block that an address lies in, and the page there. `None` means that no area starts at the address: it
    /// is not page-aligned, out of the range, or in a free block.
    #[inline(always)]
    pub fn place<'a>(&'a self, address: usize, reader: &'a impl Reader) -> Option<(&'a Block, usize)> {
        let page = self.span().page_starting_at(address)?;
        Some((self.find(page / BLOCK_PAGES, reader)?, page % BLOCK_PAGES))
    }

    /// Returns the block that an area of the caller starts in, and its first page there.
    pub fn owned_place(&self, address: usize) -> (&Block, usize) {
        let page = self.span().page_starting_at(address);
        let Some(page) = page else { unreachable!("{address:#x} is an area") };
        (self.block(page / BLOCK_PAGES), page % BLOCK_PAGES)
    }

    /// Returns the numbers of the blocks that have descriptors, the lowest first. They may lose them at any time.
    pub fn known(&self) -> impl Iterator<Item = usize> {
        let mut from = 0;
        iter::from_fn(move || {
            // A pin for each directory, of which an instance may have many. Ends: `from` grows with each.
            while from < self.span().blocks() {
                match self.table.next(from, &self.platform().pin()) {
                    Ok(number) => {
                        from = number + 1;
                        return Some(number).filter(|&number| number < self.span().blocks());
                    }
                    Err(next) => from = next,
                }
            }
            None
        })
    }

    /// Runs `read` in a read-side section, where it may follow the role of any block to the leaf table: a table goes back
    /// only after its block's role was taken away and every CPU has flushed.
    pub fn read_side<T>(&self, read: impl FnOnce(&ReadSide) -> Option<T>) -> Option<T> {
        let mut found = None;
        self.platform().shootdown().look(self.platform(), || found = read(&ReadSide(())));
        found
    }

    /// Returns the leaf table of a block that is not mapped by a 2 MiB page.
    #[inline]
    pub fn leaf(&self, block: &Block) -> &Slots {
        match block.leaf(self.platform()) {
            Some(leaf) => leaf,
            None => unreachable!("block {} has a leaf table", block.number()),
        }
    }
}
