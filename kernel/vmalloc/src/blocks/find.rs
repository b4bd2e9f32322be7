//! Finding the descriptors of blocks: by number, by address, all of them.

use super::{Block, Blocks, Pages, Role, table::Reader};
use crate::{
    BLOCK_PAGES, ForeignEntry, PAGE_SIZE, Platform,
    page_table::{Slot, Slots},
};
use core::{iter, ops::Range, ptr};

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

    /// Sees that a page is unused that the caller has and is about to map, or that becomes a guard page.
    ///
    /// # Panics
    /// If something else mapped a page there.
    #[inline(always)]
    pub fn expect_unused(&self, slot: &Slot) {
        if !slot.is_unused() {
            self.report_foreign(slot);
        }
    }

    /// Panics because something else has written the entry of a page that an area is to have. An error would be taken for
    /// a shortage of memory; but two have the page now, and nobody knows what CPUs remember of it.
    #[cold]
    #[inline(never)]
    pub fn report_foreign(&self, slot: &Slot) -> ! {
        let entry = slot.get().0;
        let page = ptr::from_ref(slot) as usize % PAGE_SIZE / size_of::<Slot>();
        // All blocks are looked through, so that no hot path need tell where a slot is.
        let table = ptr::from_ref(slot).map_addr(|address| address & !(PAGE_SIZE - 1)).cast();
        let has_table = |&number: &usize| self.find_leaf(number).is_some_and(|leaf| ptr::eq(leaf, table));
        match self.known().find(has_table) {
            Some(number) => panic!("{}", ForeignEntry { address: self.span().address(number, page), entry }),
            None => panic!(
                "page {page} of a 2 MiB block has the page table entry {entry:#x}, which is not vmalloc's"
            ),
        }
    }

    /// Returns the first page that is mapped though it is free or waits for a flush, in a block whose pages the caller has
    /// locked.
    pub fn foreign_page(&self, block: &Block, pages: &Pages) -> Option<ForeignEntry> {
        let leaf = block.leaf(self.platform()).filter(|_| block.role().has_pages())?;
        let is_foreign = |&page: &usize| leaf[page].is_present() && !pages.are_live(page, 1);
        let page = (0..BLOCK_PAGES).find(is_foreign)?;
        Some(ForeignEntry { address: self.span().address(block.number(), page), entry: leaf[page].get().0 })
    }

    /// Returns what something else mapped or linked in a block that is free, or in its pages that are.
    pub fn foreign_in(&self, number: usize) -> Option<ForeignEntry> {
        let pin = self.platform().pin();
        let page =
            self.find(number, &pin).and_then(|block| self.foreign_page(block, &block.pages.lock(&pin)));
        let linked = || {
            // The directory stays: it goes only when all of its blocks were taken.
            let slot = self.directory_slot(number).filter(|slot| !slot.is_unused())?;
            Some(ForeignEntry { address: self.span().address(number, 0), entry: slot.get().0 })
        };
        page.or_else(|| self.arena.while_free(&pin, number, linked)?)
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
