//! Giving frames to pages of congruent areas, and taking them away again.
//!
//! What is depopulated goes the way of all freed pages: it keeps its frame, out of everybody's hands until
//! each CPU has flushed, and longer unless frames run short. A page that is populated again meanwhile gets
//! the same frame at once, so it never waits for a flush.

use crate::{
    AllocError, CongruentSet, PopulateError, Vmalloc,
    areas::congruent::retire_present,
    blocks::block::{Block, Role},
    page_table::entry::{Attributes, Cache, Protection},
    platform::{BLOCK_PAGES, CpuPin, Platform},
    reclaim::shortage::Shortage,
};
use core::{
    iter,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// What populated pages are mapped as.
fn attributes() -> Attributes {
    Attributes::new(Protection::ReadWrite, Cache::WriteBack, true)
}

/// Pages of a set that lie in one block.
struct Piece<'a> {
    block: &'a Block,
    first: usize,
    count: usize,
}

impl<P: Platform> Vmalloc<P> {
    /// Gives frames, of undefined contents, to the pages `pages` of every area of a set that has some of
    /// them: pages count from the beginning of each. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`PopulateError`]; nothing has changed then. Where it says that the set is not allocated it saw so, which
    /// is no promise to see it of every set that is not.
    ///
    /// # Safety
    /// 1. This instance allocated the set, and it was not freed: the blocks of one that was may be another's by now,
    ///    or have lost their descriptors.
    /// 2. Nobody frees the set meanwhile.
    pub unsafe fn populate(&self, set: CongruentSet, pages: Range<usize>) -> Result<(), PopulateError> {
        if self.platform.in_interrupt() {
            return Err(PopulateError::InInterrupt);
        }
        let ticket = self.purge_ticket();
        match self.try_populate(set, &pages) {
            Err(PopulateError::OutOfFrames) => {}
            result => return result,
        }
        // Once nothing is kept, the pages keep nothing either.
        let frames = self.pieces(set, &pages)?.map(|piece| piece.count).sum();
        let again = || match self.try_populate(set, &pages) {
            Err(PopulateError::OutOfFrames) => Err(AllocError::OutOfFrames),
            result => Ok(result),
        };
        let populated = self.make_room(AllocError::OutOfFrames, Shortage { frames, ticket }, again);
        populated.unwrap_or(Err(PopulateError::OutOfFrames))
    }

    /// Maps nothing before there are frames for all pages: so no CPU can have reached any of them when there are not.
    fn try_populate(&self, set: CongruentSet, pages: &Range<usize>) -> Result<(), PopulateError> {
        let mut waited = 0;
        for (index, piece) in self.pieces(set, pages)?.enumerate() {
            let (revived, error) = match self.revive_piece(&piece) {
                Ok(count) => {
                    waited += count;
                    if self.supply(self.piece_entries(&piece), attributes()) {
                        continue;
                    }
                    (index + 1, PopulateError::OutOfFrames)
                }
                Err(error) => (index, error),
            };
            self.pieces(set, pages)?.take(revived).for_each(|piece| self.leave_piece(&piece, waited > 0));
            return Err(error);
        }
        let cpu = self.platform.pin().cpu();
        for piece in self.pieces(set, pages)? {
            let mapped = self.refill(self.piece_entries(&piece), attributes(), cpu);
            debug_assert!(mapped, "there is a frame for each page");
        }
        Ok(())
    }

    fn piece_entries(&self, &Piece { block, first, count }: &Piece<'_>) -> &[AtomicU64] {
        &self.small_leaf(block)[first..first + count]
    }

    /// Makes pages live none of which is: how many of them waited for a flush.
    fn revive_piece(&self, &Piece { block, first, count }: &Piece<'_>) -> Result<usize, PopulateError> {
        let waited = block.pages.lock(&self.platform.pin()).revive(first, count);
        let address = self.address(block.number(), first);
        let waited = waited.ok_or(PopulateError::Populated { address })?;
        self.uncount_lazy(waited);
        Ok(waited)
    }

    /// Gives pages back that were not mapped: at once, or, where a CPU may reach one from before, after a flush.
    fn leave_piece(&self, piece: &Piece<'_>, reached: bool) {
        let &Piece { block, first, count } = piece;
        if !reached {
            self.give_kept_frames(self.piece_entries(piece));
            return block.pages.lock(&self.platform.pin()).give(first, count);
        }
        let pin = self.platform.pin();
        let mut pages = block.pages.lock(&pin);
        pages.retire(first, count);
        self.list_congruent(&pin, pages, block);
        self.count_retired(pin, count);
    }

    /// Takes the frames of the pages `pages` away again, in every area of a set that has some of them. They
    /// go back, if they are needed, when every CPU has flushed. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`PopulateError`]; nothing has changed then.
    ///
    /// # Safety
    /// 1. This instance allocated the set, and it was not freed.
    /// 2. Nobody frees the set meanwhile.
    /// 3. Nobody uses the pages any more, nor populates or depopulates them meanwhile.
    pub unsafe fn depopulate(&self, set: CongruentSet, pages: Range<usize>) -> Result<(), PopulateError> {
        if self.platform.in_interrupt() {
            return Err(PopulateError::InInterrupt);
        }
        for Piece { block, first, count } in self.pieces(set, &pages)? {
            if !block.pages.lock(&self.platform.pin()).are_live(first, count) {
                let address = self.address(block.number(), first);
                return Err(PopulateError::NotPopulated { address });
            }
        }
        self.pieces(set, &pages)?.for_each(|piece| self.depopulate_piece(&piece));
        Ok(())
    }

    fn depopulate_piece(&self, &Piece { block, first, count }: &Piece<'_>) {
        let pin = self.platform.pin();
        let mut pages = block.pages.lock(&pin);
        let count = retire_present(&mut pages, self.small_leaf(block), first..first + count);
        self.list_congruent(&pin, pages, block);
        self.count_retired(pin, count);
    }

    /// The pages `pages` of a set's areas, block by block: at least one.
    fn pieces(
        &self,
        set: CongruentSet,
        pages: &Range<usize>,
    ) -> Result<impl Iterator<Item = Piece<'_>>, PopulateError> {
        let first_pages = self.set_pages(set).ok_or(PopulateError::NotAllocated { base: set.base() })?;
        let areas = iter::successors(Some((self.first_block(set), first_pages)), |(block, _)| {
            let block = self.table.get_owned(block.next.load(Ordering::Relaxed) as usize)?;
            match block.role() {
                Role::Congruent { pages, .. } => Some((block, pages)),
                _ => None,
            }
        });
        let Range { start, end } = *pages;
        let mut pieces = areas
            .flat_map(move |(block, pages)| {
                let end = end.min(pages);
                let blocks = if start < end { start / BLOCK_PAGES..end.div_ceil(BLOCK_PAGES) } else { 0..0 };
                blocks.map(move |index| {
                    let first = start.max(index * BLOCK_PAGES) % BLOCK_PAGES;
                    let end = (end - index * BLOCK_PAGES).min(BLOCK_PAGES);
                    (block.number() + index, first, end - first)
                })
            })
            .map(|(number, first, count)| Piece { block: self.block(number), first, count })
            .peekable();
        if pieces.peek().is_none() { Err(PopulateError::BadRange { start, end }) } else { Ok(pieces) }
    }
}
