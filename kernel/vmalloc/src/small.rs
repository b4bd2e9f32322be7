//! Areas of less than a block.

use crate::{
    AllocError, Vmalloc,
    area::{claim, clear, publish, unmap},
    block::Block,
    entry::{Entry, GuardInfo},
    flush::Unflushed,
    platform::{PAGE_SIZE, Platform, Table},
    pool::SmallRun,
    request::Shape,
};
use core::sync::atomic::Ordering;

impl<P: Platform> Vmalloc<P> {
    #[inline]
    pub(crate) fn allocate_small(&self, shape: &Shape<'_>, guard: GuardInfo) -> Result<usize, AllocError> {
        let run = self.take_pages(shape.pages + 1, shape.align)?;
        let leaf = self.small_leaf(run.block);
        let entries = &leaf[run.first..=run.first + shape.pages];
        let filled = self.fill(&entries[..shape.pages], 0, shape);
        if filled < shape.pages {
            self.undo_small(&run, leaf, shape.pages, filled);
            return Err(AllocError::OutOfFrames);
        }
        // The guard first: who finds the first page may ask the guard whose it is.
        entries[shape.pages].store(Entry::guard(guard).0, Ordering::Relaxed);
        publish(&entries[0], &entries[shape.pages - 1]);
        Ok(self.address(run.number, run.first))
    }

    /// The leaf table of a block of small areas.
    #[inline]
    pub(crate) fn small_leaf(&self, block: &Block) -> &Table {
        match block.leaf(&self.platform) {
            Some(leaf) => leaf,
            None => unreachable!("a block of small areas has a leaf table"),
        }
    }

    /// Nobody was told of the address, but a CPU may have speculated on it: a free like any other.
    #[cold]
    fn undo_small(&self, run: &SmallRun<'_>, leaf: &Table, pages: usize, filled: usize) {
        for entry in &leaf[run.first..run.first + filled] {
            unmap(entry);
        }
        self.reclaim_small(run, leaf, pages, filled);
    }

    /// Frees the area that starts at page `first`; `false` if there is none of this kind.
    #[inline]
    pub(crate) fn free_small(&self, number: usize, block: &Block, first: usize, owned: bool) -> bool {
        let Some(leaf) = block.leaf(&self.platform) else { return false };
        let Some(mut entry) = claim(&leaf[first], owned) else { return false };
        let mut pages = 1;
        while !entry.is_last() {
            let Some(slot) = leaf.get(first + pages) else { unreachable!("a small area ends in its block") };
            entry = unmap(slot);
            pages += 1;
        }
        self.reclaim_small(&SmallRun { block, number, first }, leaf, pages, pages);
        true
    }

    /// Flushes a small area of `pages` pages, the first `filled` of them quarantined, and gives
    /// its frames and its pages, guard page included, back.
    #[inline]
    fn reclaim_small(&self, run: &SmallRun<'_>, leaf: &Table, pages: usize, filled: usize) {
        let entries = &leaf[run.first..=run.first + pages];
        let start = self.address(run.number, run.first);
        // The guard page was never present: nothing to flush there.
        let entries = Unflushed::new(entries, start..start + filled * PAGE_SIZE)
            .flush(&self.platform, self.flush_ceiling());
        let frames = entries[..filled].iter().filter_map(|slot| clear(slot).quarantined_frame());
        self.platform.give_frames(frames);
        entries[pages].store(Entry::UNUSED.0, Ordering::Relaxed);
        self.give_pages(run.number, run.block, run.first, pages + 1);
    }
}
