//! Records of nothing are given back: descriptors all of whose blocks are free, and the arena's maps.
//!
//! The arena gives out the blocks of a record, to nobody but this module, so that nobody can open one and make its
//! descriptor meanwhile. The record is unlinked. Who found it before is a reader: after a grace period its frame
//! goes back, and the blocks. A [`Batch`] has one grace period for all that it collects, and needs no memory. If no
//! grace period can be had, the record is linked again.
//!
//! The search visits one directory of the table at a time; a directory whose blocks are all free is given back whole.
//! Between two of them others may purge.

use super::Reclaim;
use crate::{
    Platform,
    blocks::{
        BlockTable, Blocks,
        records::{Descriptors, Directory, Record, Unlinked, is_linked},
    },
};
use core::sync::atomic::AtomicPtr;

/// Frames of descriptors for which one grace period does: those of 2.6 GiB of address space.
const AT_ONCE: usize = 64;

impl<P: Platform> Reclaim<P> {
    /// Gives back the records of free blocks: how many frames. Descriptors stay if the caller may not wait; then a map
    /// that was made to take their blocks comes and goes each time.
    pub(super) fn release_records(&self) -> usize {
        let mut released = 0;
        // Each directory once, whatever others allocate and free meanwhile.
        for index in 0..BlockTable::DIRECTORIES {
            if is_linked(self.blocks().table.directory(index)) {
                let done = self.in_turn(|| self.release_descriptors(index, &mut released));
                if done.flatten().is_none() {
                    break;
                }
            }
        }
        released + self.blocks().arena.release_free_maps(self.platform())
    }

    /// Gives back those of one directory of the table; `None`: no grace period can be waited for. The caller has the turn:
    /// nobody else unlinks records.
    fn release_descriptors(&self, index: usize, released: &mut usize) -> Option<()> {
        let mut whole = Batch::<P, Directory, 1>::new(self.blocks());
        if whole.push(self.blocks().table.directory(index), index * Directory::BLOCKS) {
            *released += whole.free()?;
            return Some(());
        }
        let mut batch = Batch::<P, Descriptors, AT_ONCE>::new(self.blocks());
        for (slot, first) in self.blocks().table.descriptors(index) {
            batch.push(slot, first);
            if batch.count == AT_ONCE {
                *released += batch.free()?;
            }
        }
        *released += batch.free()?;
        Some(())
    }
}

/// Records that were unlinked, and whose blocks nobody else has.
struct Batch<'a, P: Platform, T: Record, const N: usize> {
    blocks: &'a Blocks<P>,
    /// Each with its first block, and how many it has.
    records: [Option<(Unlinked<'a, T>, usize, usize)>; N],
    count: usize,
}

impl<'a, P: Platform, T: Record, const N: usize> Batch<'a, P, T, N> {
    fn new(blocks: &'a Blocks<P>) -> Self {
        Self { blocks, records: [const { None }; N], count: 0 }
    }

    /// Unlinks the record in `slot`, whose first block is `first`, if there is one and all its blocks are free.
    fn push(&mut self, slot: &'a AtomicPtr<T>, first: usize) -> bool {
        let Blocks { arena, base, .. } = self.blocks;
        // The last record of an instance may have fewer blocks; what is behind it has none and is not linked.
        let blocks = T::BLOCKS.min(base.span.blocks().saturating_sub(first));
        if !is_linked(slot) || arena.allocate_at(&base.platform, first, blocks).is_err() {
            return false;
        }
        self.records[self.count] = Unlinked::take(slot).map(|record| (record, first, blocks));
        self.count += 1;
        true
    }

    /// Gives frames and blocks back, after a grace period: how many frames. `None`: none can be waited for here, and the
    /// records are linked again.
    fn free(&mut self) -> Option<usize> {
        let platform = self.blocks.platform();
        let readers_are_done = self.count == 0 || platform.synchronize();
        let mut frames = 0;
        for (record, first, blocks) in self.records[..self.count].iter_mut().filter_map(Option::take) {
            if readers_are_done {
                // SAFETY: it was unlinked before the grace period, and its blocks were taken before.
                frames += unsafe { record.free(platform) };
            } else {
                record.relink();
            }
            self.blocks.give_back(first, blocks);
        }
        self.count = 0;
        readers_are_done.then_some(frames)
    }
}

impl<P: Platform, T: Record, const N: usize> Drop for Batch<'_, P, T, N> {
    fn drop(&mut self) {
        assert!(self.count == 0, "{} records were dropped before they were freed", self.count);
    }
}
