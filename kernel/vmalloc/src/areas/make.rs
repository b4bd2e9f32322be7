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
        let entry = self.blocks().claim(address, owner)?;
        Some(self.free_claimed(address, owner, entry))
    }

    /// Frees the area that starts at `address`, whose frames are `owner`'s, and whose first entry, which was `entry`, is
    /// claimed.
    pub fn free_claimed(&self, address: usize, owner: Owner, entry: Entry) -> Pressure {
        let pin = self.platform().pin();
        let (block, first) = self.blocks().area_place(address, &pin);
        if let Role::Head { blocks, huge } = block.role() {
            let first = block.number();
            drop(pin);
            return self.free_run(first, blocks as usize, huge, owner, entry);
        }
        let claimed = Claimed { block, first, leaf: self.blocks().leaf(block), entry };
        if entry.hides() {
            // If an interrupt handler noted the area, its first entry has its marks still.
            claimed.leaf[first].change(Entry::unmarked_owned);
            hide_none(claimed.leaf[first + 1..].iter());
        }
        self.free_small(&pin, claimed, owner)
    }
}
