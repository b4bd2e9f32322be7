//! Finding the descriptors of blocks: by number, by address, all of them.

use super::{Block, Blocks, Role, table::Reader};
use crate::{BLOCK_PAGES, Platform, page_table::Slots};
use core::{iter, ops::Range};

/// A read-side section: interrupts are off while it lasts, so that no flush and no grace period that begins meanwhile
/// is over before it ends.
pub(crate) struct ReadSide(());

impl Reader for ReadSide {}

impl<P: Platform> Blocks<P> {
    /// Returns the descriptor of a block that the caller has, or has pages of: so it is not free. Panics if the descriptor
    /// was not made.
    #[inline]
    pub fn block<'a>(&'a self, number: usize, reader: &'a impl Reader) -> &'a Block {
        let Some(block) = self.find(number, reader) else { unreachable!("block {number} has a descriptor") };
        block
    }

    /// Returns what `look`, which runs pinned, finds in the descriptor of a [`block`](Self::block).
    #[inline]
    pub fn with<T>(&self, number: usize, look: impl FnOnce(&Block) -> T) -> T {
        look(self.block(number, &self.platform().pin()))
    }

    /// Stores what a [`block`](Self::block) is used for from now on.
    #[inline]
    pub fn set_role(&self, number: usize, role: Role) {
        self.with(number, |block| block.set_role(role));
    }

    /// Takes the roles of [blocks](Self::block) away.
    pub fn set_unused(&self, numbers: Range<usize>) {
        numbers.for_each(|number| self.set_role(number, Role::Unused));
    }

    /// Returns the descriptor of a block that may be free. `None` means that it is, or that the descriptor was not made
    /// yet.
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

    /// Returns the [`place`](Self::place) where an area starts that the caller has.
    pub fn area_place<'a>(&'a self, address: usize, reader: &'a impl Reader) -> (&'a Block, usize) {
        let Some(place) = self.place(address, reader) else { unreachable!("{address:#x} is an area") };
        place
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

    /// Returns the leaf table of a block that the caller has, if it has one.
    #[inline]
    pub fn find_leaf(&self, number: usize) -> Option<&Slots> {
        self.find(number, &self.platform().pin())?.leaf(self.platform())
    }

    /// Returns the leaf table of a [`block`](Self::block) that is not mapped by a 2 MiB page.
    #[inline]
    pub fn leaf_of(&self, number: usize) -> &Slots {
        self.with(number, |block| self.leaf(block))
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
