//! Giving back records of nothing: descriptors all of whose blocks are free, and the arena's maps.
//!
//! The arena gives out the blocks of a record to this module alone, so that nobody can open one and make its
//! descriptor meanwhile. The record is unlinked. Whoever found it before is a reader: after a grace period
//! its frame goes back, and so do the blocks. One grace period serves many records, which are noted on the
//! stack. If no grace period can be had, they are linked again.
//!
//! The search visits one directory of the table at a time; a directory whose blocks are all free is given back whole.
//! Between two of them others may purge.

use super::Reclaim;
use crate::{
    Platform,
    atomic::framed::AtomicPtr,
    blocks::{
        Blocks,
        records::{Directory, Record, Unlinked, is_linked},
    },
    types::Caller,
};
use core::iter;

/// Frames of descriptors for which one grace period does: those of 2.6 GiB of address space.
const AT_ONCE: usize = 64;

impl<P: Platform> Reclaim<P> {
    /// Gives back the records of free blocks: how many frames. Descriptors stay if the caller may not wait; then a map
    /// that was made to take their blocks comes and goes each time.
    pub(super) fn release_records(&self, caller: Caller) -> usize {
        let mut released = 0;
        // Each directory once, whatever others allocate and free meanwhile.
        for index in 0..self.blocks().table.directories() {
            if is_linked(self.blocks().table.directory(index)) {
                let done = self.in_turn(caller, || self.release_descriptors(index, &mut released));
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
        let table = &self.blocks().table;
        let whole = iter::once((table.directory(index), index * Directory::BLOCKS));
        self.release_free::<_, 1>(whole, released)?;
        // SAFETY: directories are unlinked above only, with the turn, which the caller has until this is over.
        let descriptors = unsafe { table.descriptors(index) };
        // None if the directory has gone.
        self.release_free::<_, AT_ONCE>(descriptors, released)
    }

    /// Gives back those of some records whose blocks are all free, each of which comes with its slot and its first block,
    /// `N` at once.
    fn release_free<'a, T: Record + 'a, const N: usize>(
        &'a self,
        slots: impl Iterator<Item = (&'a AtomicPtr<T>, usize)>,
        released: &mut usize,
    ) -> Option<()> {
        let platform = self.platform();
        let mut unlinked = slots.filter_map(|(slot, first)| self.unlink_record(slot, first));
        loop {
            let mut batch = [const { None }; N];
            // One is unlinked only when there is a place for it.
            batch.iter_mut().zip(&mut unlinked).for_each(|(place, record)| *place = Some(record));
            if batch[0].is_none() {
                return Some(());
            }
            let readers_are_done = platform.synchronize();
            for (record, first, blocks) in batch.into_iter().flatten() {
                if readers_are_done {
                    // SAFETY: it was unlinked before the grace period, and its blocks were taken before.
                    *released += unsafe { record.free(platform) };
                } else {
                    record.relink();
                }
                self.blocks().give_back(first, blocks);
            }
            readers_are_done.then_some(())?;
        }
    }

    /// Unlinks the record in `slot`, whose first block is `first`, if there is one and all its blocks are free. Nobody else
    /// has any of these from now on. Returns it with its first block and how many it has.
    fn unlink_record<'a, T: Record>(
        &self,
        slot: &'a AtomicPtr<T>,
        first: usize,
    ) -> Option<(Unlinked<'a, T>, usize, usize)> {
        let Blocks { arena, base, .. } = self.blocks();
        // The last record of an instance may have fewer blocks; what is behind it has none and is not linked.
        let blocks = T::BLOCKS.min(base.span.blocks().saturating_sub(first));
        if !is_linked(slot) || arena.allocate_at(&base.platform, first, blocks).is_err() {
            return None;
        }
        Unlinked::take(slot).map(|record| (record, first, blocks))
    }
}
