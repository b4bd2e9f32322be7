//! Finding blocks: by number, by address, all of them.

use super::{Block, BlockTable, Blocks, table::Reader};
use crate::{BLOCK_PAGES, Platform, page_table::slot::Slots};
use core::iter;

/// A read-side section: interrupts are off while it lasts, so no flush is over, and no grace period, before it ends.
pub(crate) struct ReadSide(());

impl Reader for ReadSide {}

impl<P: Platform> Blocks<P> {
    /// The table of descriptors, for who counts them or gives them back.
    pub fn table(&self) -> &BlockTable {
        &self.table
    }

    /// The descriptor of a block that the caller has, and whose descriptor was made.
    #[inline]
    pub fn block(&self, number: usize) -> &Block {
        match self.table.get_owned(number) {
            Some(block) => block,
            None => unreachable!("block {number} was opened and has a descriptor"),
        }
    }

    /// The descriptor of a block that the caller has; `None`: it was not made yet.
    #[inline]
    pub fn find_owned(&self, number: usize) -> Option<&Block> {
        self.table.get_owned(number)
    }

    /// The descriptor of a block that may be anybody's; `None`: the block is free.
    #[inline]
    pub fn find<'a>(&'a self, number: usize, reader: &'a impl Reader) -> Option<&'a Block> {
        self.table.get(number, reader)
    }

    /// The block that a page-aligned address lies in, and its page there. `None`: no area starts there.
    #[inline(always)]
    pub fn place<'a>(&'a self, address: usize, reader: &'a impl Reader) -> Option<(&'a Block, usize)> {
        let page = self.span().page_starting_at(address)?;
        Some((self.find(page / BLOCK_PAGES, reader)?, page % BLOCK_PAGES))
    }

    /// The block that an area of the caller's starts in, and its first page there.
    pub fn owned_place(&self, address: usize) -> (&Block, usize) {
        let Some(page) = self.span().page_starting_at(address) else {
            unreachable!("{address:#x} is an area")
        };
        (self.block(page / BLOCK_PAGES), page % BLOCK_PAGES)
    }

    /// The blocks that have descriptors, from the lowest up. They may lose them at any time.
    pub fn known(&self) -> impl Iterator<Item = usize> {
        let mut from = 0;
        iter::from_fn(move || {
            // A pin for each look at a directory: an instance may have many. Ends: `from` grows with each.
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

    /// Runs `read`, which follows a block's role to its leaf table, in a read-side section: a table goes back only
    /// after its block's role was taken away and every CPU has flushed.
    pub fn read_side<T>(&self, read: impl FnOnce(&ReadSide) -> Option<T>) -> Option<T> {
        let mut found = None;
        self.platform().shootdown().look(self.platform(), || found = read(&ReadSide(())));
        found
    }

    /// The leaf table of a block that is not mapped by a 2 MiB page.
    #[inline]
    pub fn leaf(&self, block: &Block) -> &Slots {
        match block.leaf(self.platform()) {
            Some(leaf) => leaf,
            None => unreachable!("block {} has a leaf table", block.number()),
        }
    }
}
