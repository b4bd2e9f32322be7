//! Giving frames to pages of congruent areas, and taking them away again.
//!
//! What is depopulated takes the path of all freed pages: its frame stays cached in its entry, out of
//! everybody's reach until each CPU has flushed, and longer unless frames run short. A page that is populated
//! again meanwhile gets the same frame at once, so it never waits for a flush.

use crate::{
    BLOCK_PAGES, CongruentSet, CpuPin, Platform, PopulateError, Protection,
    areas::{Areas, Attempt},
    blocks::{NO_BLOCK, Role},
    page_table::{Attributes, Slot},
    pending::Pressure,
    types::Owner,
};
use core::{iter, ops::Range, sync::atomic::Ordering};

/// What populated pages are mapped as.
fn attributes() -> Attributes {
    Attributes::new(Protection::ReadWrite, Owner::Area)
}

/// Pages of a set that lie in one block.
struct Piece {
    /// The block.
    number: usize,
    first: usize,
    count: usize,
}

impl<P: Platform> Areas<P> {
    /// Gives frames to the pages `pages` of every area of a set that has some of them. Maps nothing before there are
    /// frames for all pages: so no CPU can have reached any of them when there are not.
    pub fn populate(&self, set: CongruentSet, pages: &Range<usize>) -> Result<(), PopulateError> {
        let (mut waited, mut revived) = (0, 0);
        let supplied = self.pieces(set, pages)?.try_for_each(|piece| {
            waited += self.revive_piece(&piece)?;
            revived += 1;
            self.supply(self.piece_slots(&piece), attributes()).then_some(()).ok_or(PopulateError::NO_FRAMES)
        });
        if supplied.is_err() {
            self.pieces(set, pages)?.take(revived).for_each(|piece| self.leave_piece(&piece, waited > 0));
            return supplied;
        }
        let cpu = self.platform().pin().cpu();
        for piece in self.pieces(set, pages)? {
            let mapped = self.refill(self.piece_slots(&piece), attributes(), Attempt::Usual, cpu);
            debug_assert!(mapped, "there is a frame for each page");
        }
        Ok(())
    }

    /// How many pages of a set's areas the pages `pages` are.
    pub fn count_pages(&self, set: CongruentSet, pages: &Range<usize>) -> Result<usize, PopulateError> {
        Ok(self.pieces(set, pages)?.map(|piece| piece.count).sum())
    }

    fn piece_slots(&self, &Piece { number, first, count }: &Piece) -> &[Slot] {
        &self.blocks().leaf_of(number)[first..first + count]
    }

    /// Makes pages live none of which is: how many of them waited for a flush.
    fn revive_piece(&self, &Piece { number, first, count }: &Piece) -> Result<usize, PopulateError> {
        let pin = self.platform().pin();
        let waited = self.blocks().block(number, &pin).pages.lock(&pin).revive(first, count);
        let address = self.span().address(number, first);
        let waited = waited.ok_or(PopulateError::Populated { address })?;
        self.pending().uncount(waited);
        Ok(waited)
    }

    /// Gives pages back that were not mapped: at once, or, where a CPU may reach one from before, after a flush.
    fn leave_piece(&self, piece: &Piece, reached: bool) {
        let &Piece { number, first, count } = piece;
        if !reached {
            self.give_cached_frames(self.piece_slots(piece));
        }
        let pin = self.platform().pin();
        let block = self.blocks().block(number, &pin);
        if reached {
            return self.pending().retire(&pin, block, first, count, Owner::Area).leave_to_caller();
        }
        block.pages.lock(&pin).give(first, count);
    }

    /// Takes the frames of the pages `pages` away again, in every area of a set that has some of them. They go back, if
    /// they are needed, when every CPU has flushed.
    pub fn depopulate(&self, set: CongruentSet, pages: &Range<usize>) -> Result<Pressure, PopulateError> {
        for Piece { number, first, count } in self.pieces(set, pages)? {
            let pin = self.platform().pin();
            if !self.blocks().block(number, &pin).pages.lock(&pin).are_live(first, count) {
                let address = self.span().address(number, first);
                return Err(PopulateError::NotPopulated { address });
            }
        }
        Ok(self.pieces(set, pages)?.fold(Pressure::Low, |pressure, Piece { number, first, count }| {
            pressure.or(self.retire_present(number, first..first + count, false))
        }))
    }

    /// The pages `pages` of a set's areas, block by block: at least one.
    fn pieces(
        &self,
        set: CongruentSet,
        pages: &Range<usize>,
    ) -> Result<impl Iterator<Item = Piece>, PopulateError> {
        let first_pages = self.set_pages(set).ok_or(PopulateError::NotAllocated { base: set.base() })?;
        let areas = iter::successors(Some((set.first, first_pages)), |&(number, _)| {
            let pin = self.platform().pin();
            let next = self.blocks().block(number, &pin).next.load(Ordering::Relaxed);
            if next == NO_BLOCK {
                return None;
            }
            match self.blocks().find(next as usize, &pin)?.role() {
                Role::Congruent { pages, .. } => Some((next as usize, pages)),
                _ => None,
            }
        });
        let Range { start, end } = *pages;
        let mut pieces = areas
            .flat_map(move |(number, pages)| {
                let end = end.min(pages);
                let blocks = if start < end { start / BLOCK_PAGES..end.div_ceil(BLOCK_PAGES) } else { 0..0 };
                blocks.map(move |index| {
                    let first = start.max(index * BLOCK_PAGES) % BLOCK_PAGES;
                    let end = (end - index * BLOCK_PAGES).min(BLOCK_PAGES);
                    Piece { number: number + index, first, count: end - first }
                })
            })
            .peekable();
        if pieces.peek().is_none() { Err(PopulateError::BadRange { start, end }) } else { Ok(pieces) }
    }
}
