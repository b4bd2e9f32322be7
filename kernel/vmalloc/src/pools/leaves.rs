//! Leaf tables of the blocks that a pool recently took pages of.
//!
//! What a CPU frees mostly lies in one of them. So its leaf table is found by the address alone, without
//! going through the block's descriptor.

use crate::{
    BLOCK_PAGES, BLOCK_SHIFT, PAGE_SHIFT,
    atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed},
    page_table::slot::Slots,
};
use core::{
    array,
    ptr::{self, NonNull},
};

/// How many are noted. Blocks so many apart have the same place.
const PLACES: usize = 8;

/// Where a block starts that has another place: so whoever looks at this one finds that nothing lies there.
fn nowhere(place: usize) -> usize {
    ((place + 1) % PLACES) << BLOCK_SHIFT
}

/// The leaf tables of a pool's last blocks. Only the pool's own CPU, pinned, puts some there; others take theirs away.
pub(super) struct Leaves {
    /// Where the blocks start.
    starts: [AtomicUsize; PLACES],
    /// The leaf table of each block that starts somewhere.
    leaves: [AtomicPtr<Slots>; PLACES],
}

/// The place of the block that an address lies in.
#[inline(always)]
fn place(address: usize) -> usize {
    (address >> BLOCK_SHIFT) % PLACES
}

impl Leaves {
    pub fn new() -> Self {
        Self {
            starts: array::from_fn(|place| AtomicUsize::new(nowhere(place))),
            leaves: array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// Notes the leaf table of the block that starts at `start`. The caller, pinned on the pool's own CPU, knows that nobody
    /// closes the block before it is [forgotten](Self::forget) here.
    pub fn put(&self, start: usize, leaf: &Slots) {
        let place = place(start);
        // Others look at the start alone: after this they leave the place as it is.
        self.starts[place].store(nowhere(place), Relaxed);
        self.leaves[place].store(ptr::from_ref(leaf).cast_mut(), Relaxed);
        self.starts[place].store(start, Relaxed);
    }

    /// Takes the block that starts at `start` away: it is about to be closed, or to become another pool's.
    pub fn forget(&self, start: usize) {
        let place = place(start);
        let _ = self.starts[place].compare_exchange(start, nowhere(place), Relaxed, Relaxed);
    }

    /// Returns the page that starts at `address`, by its place in its block, and the block's leaf table, if the block is
    /// noted here. The caller is pinned on the pool's CPU.
    #[inline(always)]
    pub fn find(&self, address: usize) -> Option<(usize, &Slots)> {
        let place = place(address);
        let page = address.wrapping_sub(self.starts[place].load(Relaxed)).rotate_right(PAGE_SHIFT);
        if page >= BLOCK_PAGES {
            return None;
        }
        // SAFETY: `put` wrote it, on this CPU, before the start. It goes when every CPU has flushed after the block was taken
        // away here: whoever comes with an allocated address is not too late.
        Some((page, unsafe { NonNull::new_unchecked(self.leaves[place].load(Relaxed)).as_ref() }))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::BLOCK_SIZE;
    use core::mem;

    extern crate std;
    use std::boxed::Box;

    fn leaf() -> Box<Slots> {
        // SAFETY: all zeros are a table of unused entries.
        Box::new(unsafe { mem::zeroed() })
    }

    #[test]
    fn a_page_is_found_in_the_blocks_that_were_put_and_in_no_other() {
        let (leaves, first, second) = (Leaves::new(), leaf(), leaf());
        let start = 0xffff_c900_0000_0000;
        let found = |address| leaves.find(address).map(|(page, leaf)| (page, ptr::from_ref(leaf)));
        assert_eq!([found(0), found(start)], [None; 2]);
        // Wherever it lies, nothing is found where no block was put; seen failing with `NonNull::dangling`, which is 1.
        let anywhere =
            (0..2 * PLACES).flat_map(|block| [0, 1, 8, 4096, 4097].map(|byte| block * BLOCK_SIZE + byte));
        assert!(anywhere.into_iter().all(|address| found(address).is_none()));
        leaves.put(start, &first);
        leaves.put(start + BLOCK_SIZE, &second);
        assert_eq!(found(start), Some((0, &raw const *first)));
        assert_eq!(found(start + BLOCK_SIZE - 4096), Some((BLOCK_PAGES - 1, &raw const *first)));
        assert_eq!(found(start + BLOCK_SIZE + 4096), Some((1, &raw const *second)));
        // Not where a page starts; and blocks that are not there, one of which has a place that another one has.
        let others =
            [start + 8, start - BLOCK_SIZE, start + PLACES * BLOCK_SIZE, start.wrapping_sub(1 << 63)];
        assert_eq!(others.map(found), [None; 4]);
    }

    /// Seen failing with a `forget` that does not ask which block has the place.
    #[test]
    fn a_block_that_is_forgotten_takes_no_other_with_it() {
        let (leaves, first, second) = (Leaves::new(), leaf(), leaf());
        let (start, later) = (7 * BLOCK_SIZE, (7 + PLACES) * BLOCK_SIZE);
        leaves.put(start, &first);
        leaves.put(later, &second);
        assert!(leaves.find(start).is_none());
        leaves.forget(start);
        assert!(leaves.find(later).is_some());
        leaves.forget(later);
        assert!(leaves.find(later).is_none());
    }
}
