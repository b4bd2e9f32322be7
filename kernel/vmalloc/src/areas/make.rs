//! Making an area and freeing one, whether it is small or a run.

use super::{Areas, Attempt, Shape, small::Claimed};
use crate::{
    AllocError, Platform,
    blocks::Role,
    page_table::{Entry, hide_none},
    pending::Pressure,
    types::Owner,
};

impl<P: Platform> Areas<P> {
    /// Makes an area of this shape: its address.
    #[inline]
    pub fn make(&self, shape: &Shape<'_>, attempt: Attempt) -> Result<usize, AllocError> {
        if shape.is_small() {
            return self.make_small(shape, attempt);
        }
        match self.make_run(shape, attempt) {
            Err(AllocError::OutOfAddressSpace { .. }) if shape.fits_block() => {
                self.make_small(shape, attempt)
            }
            made => made,
        }
    }

    /// Frees the area that starts at `address`, whose frames are `owner`'s. `None`: none starts there.
    pub fn free(&self, address: usize, owner: Owner) -> Option<Pressure> {
        let pin = self.platform().pin();
        let (block, page) = self.blocks().place(address, &pin)?;
        match block.role() {
            Role::Small { .. } => {
                let leaf = block.leaf(self.platform())?;
                let entry = leaf[page].claim_any(owner)?;
                if entry.hides() {
                    hide_none(leaf[page + 1..].iter());
                }
                Some(self.free_small(&pin, Claimed { block, first: page, leaf, entry }, owner))
            }
            Role::Head { .. } if page == 0 => {
                let first = block.number();
                drop(pin);
                self.free_run(first, owner)
            }
            _ => None,
        }
    }

    /// Frees the area at `address` that owns its frames, and whose first entry, which was `entry`, is claimed.
    pub fn free_claimed(&self, address: usize, entry: Entry) -> Pressure {
        let pin = self.platform().pin();
        let (block, first) = self.blocks().area_place(address, &pin);
        if let Role::Head { .. } = block.role() {
            let first = block.number();
            drop(pin);
            return self.free_claimed_run(first, Owner::Area, entry);
        }
        let claimed = Claimed { block, first, leaf: self.blocks().leaf(block), entry };
        if entry.hides() {
            claimed.leaf[first].change(Entry::unmarked_owned);
            hide_none(claimed.leaf[first + 1..].iter());
        }
        self.free_small(&pin, claimed, Owner::Area)
    }
}
