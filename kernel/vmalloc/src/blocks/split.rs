//! Splitting the 2 MiB page of a block into 4 KiB pages of the same frames, while programs use it.
//!
//! The directory entry of a block changes from the 2 MiB page to a leaf table in one step, and only then is
//! the table stored in the block's descriptor:
//!
//! ```text
//! descriptor: none   entry: 2 MiB page     Mapping::Huge
//!      │  a table that nobody knows is filled; compare-and-swap of the entry; one CPU wins
//! descriptor: none   entry: the table      Mapping::Unflushed
//!      │  every CPU forgets the 2 MiB page
//! descriptor: table  entry: the table      Mapping::Small
//! ```
//! * No dirty mark is lost. The compare-and-swap fails if a CPU, or `frame_at`, has marked the entry since the
//!   table was filled from it, and the table is filled anew. A CPU that has the translation and has not marked it
//!   yet walks before it writes, and so finds the table (Intel SDM 3A, 4.8).
//! * Readers find the page by either entry. Whoever has read the 2 MiB page's entry, and wants to change it, does
//!   so by compare-and-swap, and reads again if that fails.
//! * No CPU has translations of both sizes and different rights, which would be undefined (4.10.2.3): up to the
//!   flush all entries of the table have the rights that the 2 MiB page had, and they are changed only after the
//!   table is stored in the descriptor. A second CPU that wants to split the page meanwhile makes that flush, too,
//!   so that it need not wait for the first.

use super::{Block, Blocks, Role, table::Reader};
use crate::{
    AllocError, BLOCK_PAGES, BLOCK_SIZE, Platform, Returned,
    page_table::{Entry, Slot, Slots, Unflushed, directories},
    types::{Caller, Owner},
};

/// How a block of a run is mapped.
pub(crate) enum Mapping<'a> {
    /// 4 KiB pages map it, in this leaf table.
    Small(&'a Slots),
    /// 4 KiB pages map it, in the leaf table that this entry links; CPUs may still have the 2 MiB page.
    Unflushed(&'a Slots, Entry),
    /// A 2 MiB page maps it, or nothing if the entry is not present: the slot of its entry, and what was just read there.
    Huge(&'a Slot, Entry),
}

impl<'a> Mapping<'a> {
    /// Returns the slot of the entry that maps page `page` of the block.
    fn slot(self, page: usize) -> &'a Slot {
        match self {
            Self::Small(leaf) | Self::Unflushed(leaf, _) => &leaf[page],
            Self::Huge(slot, _) => slot,
        }
    }
}

impl<P: Platform> Blocks<P> {
    /// Finds out how a block of a run is mapped now; `None` if it has no directory. The caller has the block, or is in a
    /// read-side section.
    pub fn mapping(&self, block: &Block) -> Option<Mapping<'_>> {
        if let Some(leaf) = block.leaf(self.platform()) {
            return Some(Mapping::Small(leaf));
        }
        let slot = self.directory_slot(block.number())?;
        let entry = slot.look();
        if entry.is_huge() || !entry.is_present() {
            return Some(Mapping::Huge(slot, entry));
        }
        // SAFETY: a present entry that maps no 2 MiB page links a leaf table. That is unlinked after the block's
        // role was taken away, and given back a flush later, which is not over before a read-side section that found it.
        let leaf = unsafe { directories::table(self.platform(), entry.frame()) };
        Some(Mapping::Unflushed(leaf, entry))
    }

    /// Finds out how a block of a run that the caller has is mapped now, as [`mapping`](Self::mapping) does.
    #[inline]
    pub fn mapping_of(&self, number: usize) -> Option<Mapping<'_>> {
        self.with(number, |block| self.mapping(block))
    }

    /// Returns the slot of the entry that maps page `page` of a run: in a leaf table, or above one for a 2 MiB page. The
    /// caller owns the run; others may find that a 2 MiB page is [split](Self::mapping).
    #[inline]
    pub fn run_slot(&self, first: usize, page: usize, reader: &impl Reader) -> &Slot {
        let number = first + page / BLOCK_PAGES;
        let Some(mapping) = self.mapping(self.block(number, reader)) else {
            unreachable!("block {number} of the run has a directory")
        };
        mapping.slot(page % BLOCK_PAGES)
    }

    /// Claims the area that starts at `address`, as [`Slot::claim_any`] does, if one does whose frames are `owner`'s.
    pub fn claim(&self, address: usize, owner: Owner) -> Option<Entry> {
        // What lies there may be nobody's any more, and its table go as soon as every CPU has flushed.
        self.read_side(|side| self.start(address, side)?.claim_any(owner))
    }

    /// Returns the slot of the first page of the area that the caller has at `address`.
    pub fn area_start<'a>(&'a self, address: usize, reader: &'a impl Reader) -> &'a Slot {
        let Some(slot) = self.start(address, reader) else { unreachable!("{address:#x} is an area") };
        slot
    }

    /// Returns the slot of the page at `address`, if an area may start there.
    fn start<'a>(&'a self, address: usize, reader: &'a impl Reader) -> Option<&'a Slot> {
        let (block, page) = self.place(address, reader)?;
        match block.role() {
            Role::Small { .. } => block.leaf(self.platform()).map(|leaf| &leaf[page]),
            Role::Head { .. } if page == 0 => self.mapping(block).map(|mapping| mapping.slot(0)),
            _ => None,
        }
    }

    /// Returns the leaf table of a block of a run. A 2 MiB page is split first; when this returns, every CPU has
    /// forgotten it.
    pub fn split_huge(&self, number: usize, caller: Caller) -> Result<&Slots, AllocError> {
        // Ends: each turn is one step further in the module's drawing, by this CPU or by another one.
        loop {
            match self.mapping_of(number) {
                Some(Mapping::Small(leaf)) => return Ok(leaf),
                Some(Mapping::Unflushed(_, link)) => self.finish_split(number, link, caller),
                Some(Mapping::Huge(slot, huge)) if huge.is_present() => self.replace_huge(slot)?,
                _ => unreachable!("block {number} of the run is mapped"),
            }
        }
    }

    /// Puts a leaf table that maps the same frames in the place of a 2 MiB page, unless another CPU does.
    fn replace_huge(&self, slot: &Slot) -> Result<(), AllocError> {
        let frame = self.take_leaf().ok_or(AllocError::NO_FRAMES)?;
        // SAFETY: the frame is ours: nobody knows the table before it is linked.
        let table = unsafe { directories::table(self.platform(), frame) };
        // Ends: the entry changes when it is marked accessed or dirty, once each, when the whole page is
        // protected, or when it is split.
        let linked = slot.try_update(|entry| {
            let huge = Some(entry).filter(|entry| entry.is_huge())?;
            table.iter().enumerate().for_each(|(page, small)| small.set(huge.small_page(page)));
            // A CPU that walks through the link finds the entries.
            Some(Entry::table(frame))
        });
        if linked.is_err() {
            self.platform().give_table(Returned::new(frame));
        }
        Ok(())
    }

    /// Makes every CPU forget the 2 MiB page whose place a leaf table has taken, then stores the table in the block's
    /// descriptor.
    pub fn finish_split(&self, number: usize, link: Entry, caller: Caller) {
        let start = self.span().address(number, 0);
        // Idle CPUs too: when they wake they may load translations of the small pages by speculation.
        Unflushed::for_speculation((), start..start + BLOCK_SIZE).flush(&self.base, caller);
        let pin = self.platform().pin();
        let block = self.block(number, &pin);
        // Of several who come here, one counts.
        if block.set_split_leaf(link) {
            let head = match block.role() {
                Role::Tail { behind } => self.block(number - behind as usize, &pin),
                _ => block,
            };
            head.one_huge_less();
        }
    }
}
