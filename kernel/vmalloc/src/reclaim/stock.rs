//! Stock: all that an instance keeps for speed, in one list, and giving it back.
//!
//! [`trim`](Vmalloc::trim) and an allocation that ran out of room (`room`) give back what this list names, so nothing
//! that is kept anywhere, on whatever CPU, stands in anybody's way. A cache that is added gets a name here, and the
//! tests of this module demand that it be filled on another CPU and had by an allocation.
//!
//! Called with the turn (`purge`); each step takes the locks of what it gives back, one at a time.

use crate::{
    Vmalloc,
    page_table::entry::Entry,
    platform::{BLOCK_PAGES, Frame, Platform},
    pools::pool::Pool,
};
use core::sync::atomic::Ordering;

/// Frames given back in one go.
const AT_ONCE: usize = 64;

/// A kind of thing that is kept for speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stock {
    /// What was unmapped and waits for a flush.
    Lazy,
    /// The pools' current blocks, and the pages of them that CPUs took ahead.
    Current,
    /// Frames that free pages kept.
    PageFrames,
    /// The frame that a guard page's page had kept, one for each pool.
    Spares,
    /// Blocks of small areas that are entirely free.
    EmptyBlocks,
    /// Runs, with their tables and frames.
    Runs,
    /// Blocks that were closed: their tables, and what else was unmapped since, wait for a flush.
    Closed,
    /// Leaf tables in the CPUs' reserves.
    Tables,
    /// Directories of page tables below which nothing is mapped.
    Directories,
    /// Descriptors, and maps of the arena, of blocks that are free. They wait for a grace period, so they go last, and
    /// not in one turn with the others.
    Records,
}

impl Stock {
    /// In the order in which it is given back: the first may add to those behind.
    pub const ALL: [Self; 10] = [
        Self::Lazy,
        Self::Current,
        Self::PageFrames,
        Self::Spares,
        Self::EmptyBlocks,
        Self::Runs,
        Self::Closed,
        Self::Tables,
        Self::Directories,
        Self::Records,
    ];
}

const _: () = assert!(Stock::ALL.len() == Stock::Records as usize + 1, "a kind is missing in the list");

impl<P: Platform> Vmalloc<P> {
    /// Gives back all that is kept for speed, but records, and flushes what waits. Returns how many pages others freed
    /// meanwhile that were flushed too: they may be kept now. The caller has the turn.
    pub(crate) fn give_back(&self) -> usize {
        let mut freed_meanwhile = 0;
        for stock in Stock::ALL {
            match stock {
                Stock::Lazy => {
                    self.purge_waiting();
                }
                Stock::Current => self.retire_current_blocks(),
                Stock::PageFrames => self.release_frames(),
                Stock::Spares => self.release_spares(),
                Stock::EmptyBlocks => self.close_empty_blocks(),
                Stock::Runs => self.close_kept_runs(),
                // Closed blocks were counted when their pages were flushed.
                Stock::Closed => freed_meanwhile = self.purge_waiting(),
                Stock::Tables => self.empty_reserves(),
                Stock::Directories => {
                    self.release_directories();
                }
                Stock::Records => {}
            }
        }
        freed_meanwhile
    }

    fn release_spares(&self) {
        // Whoever adds to what a pool keeps decides here whether it is given back, and where.
        for Pool { spare, current: _, ahead: _, bins: _ } in &self.pools {
            self.platform.give_frames(spare.swap(None).into_iter());
        }
    }

    /// Gives the machine all frames that free pages kept, but those that were taken ahead.
    pub(crate) fn release_frames(&self) {
        for number in self.known_blocks() {
            // A block has no more, unless others purge meanwhile.
            let _all = (0..BLOCK_PAGES / AT_ONCE).all(|_| self.release_some(number) == AT_ONCE);
        }
    }

    /// Gives back up to `AT_ONCE` of the frames that free pages of a block kept: how many.
    fn release_some(&self, number: usize) -> usize {
        let pin = self.platform.pin();
        let Some(block) = self.table.get(number, &pin) else { return 0 };
        let mut frames = [Frame::new(0); AT_ONCE];
        let mut count = 0;
        {
            let pages = block.pages.lock(&pin);
            let has_pages = block.role().has_pages();
            let Some(leaf) = block.leaf(&self.platform).filter(|_| has_pages) else { return 0 };
            for (page, slot) in leaf.iter().enumerate() {
                let kept = Entry(slot.load(Ordering::Relaxed)).quarantined_frame();
                if let Some(frame) = kept.filter(|_| pages.is_free(page)) {
                    slot.store(Entry::UNUSED.0, Ordering::Relaxed);
                    frames[count] = frame;
                    count += 1;
                    if count == AT_ONCE {
                        break;
                    }
                }
            }
        }
        drop(pin);
        self.platform.give_frames(frames[..count].iter().copied());
        count
    }
}
