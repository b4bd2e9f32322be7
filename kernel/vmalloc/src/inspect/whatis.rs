//! What is at an address, and what is beside it: read without a lock, in any context, as `find` does.

use super::find::View;
use crate::{
    BLOCK_PAGES, PAGE_SIZE, Place, Platform, Protection, Vmalloc, Whatis,
    blocks::{Mapping, Role},
};

impl<P: Platform> Vmalloc<P> {
    /// Looks at what is at an address, without what was there.
    pub(crate) fn look_at(&self, address: usize) -> Whatis {
        let (place, was) = (self.place_of(address), None);
        if matches!(place, Place::OutsideRange) {
            return Whatis { address, place, was, below: None, above: None };
        }
        let page = address & !(PAGE_SIZE - 1);
        let (first, end) = match &place {
            Place::Area { area, .. } | Place::GuardBehind { area } | Place::GuardBelow { area } => {
                (area.guard_start(), area.end())
            }
            _ => (page, page + PAGE_SIZE),
        };
        let range = self.range();
        // As far as the end of this block, or the near end of the next one.
        let mut lower = (1..=BLOCK_PAGES).map(|pages| first.wrapping_sub(pages * PAGE_SIZE));
        let mut upper = (0..BLOCK_PAGES).map(|pages| end.wrapping_add(pages * PAGE_SIZE));
        let below =
            lower.by_ref().take_while(|address| range.contains(address)).find_map(|at| self.find_area(at));
        let above =
            upper.by_ref().take_while(|address| range.contains(address)).find_map(|at| self.find_area(at));
        Whatis { address, place, was, below, above }
    }

    fn place_of(&self, address: usize) -> Place {
        let blocks = self.blocks();
        match self.find_area(address) {
            _ if !self.contains(address) => Place::OutsideRange,
            Some(area) if address < area.start => Place::GuardBelow { area },
            Some(area) if address >= area.mapped_end() => Place::GuardBehind { area },
            Some(area) => Place::Area { area, protection: self.protection_at(address) },
            None => {
                let role = blocks.read_side(|side| {
                    let (number, _) = blocks.span().place(address)?;
                    View { blocks, side }.block(number).map(|block| block.role())
                });
                match role {
                    None | Some(Role::Unused) => Place::FreeBlock,
                    Some(Role::Cached { .. }) => Place::CachedRun,
                    Some(Role::Freed { .. } | Role::Leaving) => Place::FreedBlocks,
                    Some(_) => Place::FreePage,
                }
            }
        }
    }

    fn protection_at(&self, address: usize) -> Option<Protection> {
        let blocks = self.blocks();
        blocks.read_side(|side| {
            let (number, page) = blocks.span().place(address)?;
            let block = View { blocks, side }.block(number)?;
            match blocks.mapping(block)? {
                Mapping::Small(leaf) | Mapping::Unflushed(leaf, _) => leaf[page].look().protection(),
                Mapping::Huge(_, entry) => entry.protection(),
            }
        })
    }
}
