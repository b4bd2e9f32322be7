//! Opening blocks and linking what they map. `open` only takes numbers from the arena; a block is opened by
//! `make` (descriptor, directories), which `open_leaf` also calls. A CPU can reach nothing that is not linked.

use super::{Block, Blocks};
use crate::{
    AllocError, ForeignEntry, Platform,
    page_table::{Slot, directories},
};
use core::ops::Range;

impl<P: Platform> Blocks<P> {
    /// Takes a run of `count` blocks, aligned to `align` blocks of address space, with `below` blocks below it, from the
    /// arena, all inside `within` if that is given. Returns the first block of the `count`.
    pub fn open(
        &self,
        below: usize,
        count: usize,
        align: usize,
        within: Option<Range<usize>>,
    ) -> Result<usize, AllocError> {
        let offset = self.span().blocks_below() + below;
        let within = within.unwrap_or(0..self.span().blocks());
        let offset = offset & (align - 1);
        Ok(below + self.arena.allocate(self.platform(), below + count, align, offset, within)?)
    }

    /// Gives a run of blocks back to the arena, whose entries are all unused and flushed.
    pub fn give_back(&self, first: usize, count: usize) {
        self.arena.free_run(self.platform(), first, count);
    }

    /// Returns the directory entry of a block, if its directories were made.
    pub fn directory_slot(&self, number: usize) -> Option<&Slot> {
        directories::block_entry(self.platform(), self.span().address(number, 0))
    }

    /// Makes the descriptor of an open block.
    pub fn make_descriptor(&self, number: usize) -> Result<(), AllocError> {
        self.table.make(self.platform(), number).ok_or(AllocError::NO_FRAMES)
    }

    /// Makes the descriptor and the directories of an open block, and returns its directory entry.
    ///
    /// # Panics
    /// If something else linked a table there, or mapped a page.
    pub fn make(&self, number: usize) -> Result<&Slot, AllocError> {
        self.make_descriptor(number)?;
        let address = self.span().address(number, 0);
        self.made_up_to.include(address);
        let slot = directories::make_block_entry(self.platform(), address).ok_or(AllocError::NO_FRAMES)?;
        if !slot.is_unused() {
            report_foreign(ForeignEntry { address, entry: slot.get().0 });
        }
        Ok(slot)
    }

    /// Gives an open block a leaf table of zeros, which no CPU reaches before the block is [linked](Self::link).
    pub fn open_leaf(&self, number: usize) -> Result<(), AllocError> {
        self.make(number)?;
        let frame = self.take_leaf().ok_or(AllocError::NO_FRAMES)?;
        self.with(number, |block| block.set_leaf(Some(frame)));
        Ok(())
    }

    /// Links the leaf table of an open block, or its 2 MiB page. An entry that was not present is never cached, so
    /// linking needs no flush. A CPU that walks through the link finds what the table says.
    pub fn link(&self, number: usize) {
        let Some(slot) = self.directory_slot(number) else { unreachable!("block {number} was opened") };
        slot.publish(self.with(number, Block::link).unwrap_or_else(|| slot.get().mapped()));
    }
}

/// Panics because something else has linked a table in a block that the library opens: see
/// [`Blocks::report_foreign`].
#[cold]
#[inline(never)]
fn report_foreign(entry: ForeignEntry) -> ! {
    panic!("{entry}")
}
