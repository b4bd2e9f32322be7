//! Vmap blocks: 2 MiB of address space, one leaf page table and one descriptor of 192 bytes.
//!
//! A descriptor is all that the library remembers of a block, however many areas lie in it. It has the block's
//! [`Role`], and for a block that areas share its [`Pages`]: what each page is, in two bits.
//!
//! ```text
//! arena ──open──▶ descriptor, leaf table ──link──▶ mapped ──unlink, flush──▶ arena
//! ```
//! Every room above uses this one. It owns the arena, the table of descriptors, and each CPU's reserve of leaf tables.
//! Locks: a block's, around its pages; a CPU's reserve. Neither is held while anything is taken from or given to the
//! machine.

mod block;
mod open;
mod pages;
pub(crate) mod records;
mod reserve;
mod role;
mod split;
mod table;

use crate::{
    BLOCK_PAGES, MAX_CPUS, Platform,
    arena::Arena,
    base::Base,
    page_table::slot::{Slot, Slots},
    span::Span,
};
pub(crate) use block::{Block, BlockSlot};
use core::iter;
pub(crate) use pages::{Listed, Pages};
use reserve::Reserve;
pub(crate) use role::Role;
pub(crate) use split::Mapping;
pub(crate) use table::{BlockTable, NO_BLOCK, Reader};

/// The blocks of an instance.
pub(crate) struct Blocks<P> {
    pub base: Base<P>,
    pub arena: Arena,
    table: BlockTable,
    reserves: [Reserve; MAX_CPUS],
}

/// A read-side section: interrupts are off while it lasts, so no flush is over, and no grace period, before it ends.
pub(crate) struct ReadSide(());

impl Reader for ReadSide {}

impl<P: Platform> Blocks<P> {
    pub fn new(base: Base<P>) -> Self {
        let arena = Arena::new(base.span.blocks(), base.policy.search);
        Self { base, arena, table: BlockTable::new(), reserves: [const { Reserve::new() }; MAX_CPUS] }
    }

    #[inline(always)]
    pub fn platform(&self) -> &P {
        &self.base.platform
    }

    #[inline(always)]
    pub fn span(&self) -> &Span {
        &self.base.span
    }

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

    /// The entry that maps page `page` of a run: in a leaf table, or above it for a 2 MiB page. For the run's owner;
    /// others may find that a 2 MiB page is [split](Self::mapping).
    pub fn run_slot(&self, first: usize, page: usize) -> &Slot {
        let number = first + page / BLOCK_PAGES;
        match self.mapping(self.block(number)) {
            Some(Mapping::Small(leaf) | Mapping::Unflushed(leaf, _)) => &leaf[page % BLOCK_PAGES],
            Some(Mapping::Huge(slot, _)) => slot,
            None => unreachable!("block {number} of the run has a directory"),
        }
    }

    /// The entry of the first page of the run that starts at a block, if one does.
    pub fn run_start(&self, block: &Block) -> Option<&Slot> {
        match self.mapping(block)? {
            Mapping::Small(leaf) | Mapping::Unflushed(leaf, _) => Some(&leaf[0]),
            Mapping::Huge(slot, _) => Some(slot),
        }
    }

    /// Gives all records back. Every block is free.
    pub fn release(&mut self) {
        self.arena.release(&self.base.platform);
        self.table.release(&self.base.platform);
    }
}
