//! Looking for what something else mapped in the range.

use crate::{BLOCK_SIZE, ForeignEntry, Platform, Vmalloc, page_table::directories};

impl<P: Platform> Vmalloc<P> {
    /// Compares the page tables of the whole range with what the instance left there, and returns the first
    /// page or table that something else put into a free place. It is for finding the culprit, for instance
    /// by a call at the end of each test.
    ///
    /// Without this call, a panic names a foreign entry only when its place is about to be allocated: where an area
    /// needs new frames, a guard page or a new block. The fast paths, which map an area with the frames that it
    /// had, and `vm_map_ram` look only in builds with debug assertions. So does a purge, at blocks that it flushes.
    ///
    /// It costs a look at each entry of the tables that are linked. What other CPUs allocate and free
    /// meanwhile is not taken for foreign. It does not look at the pages behind the end of an area that has
    /// blocks of its own, what waits for a flush, cached runs, or, if the caller may not wait for a [grace
    /// period](crate::Platform::synchronize), what other CPUs have in their magazines.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[must_use]
    pub fn find_foreign(&self) -> Option<ForeignEntry> {
        self.base().assert_not_in_interrupt("find_foreign");
        // Pages that CPUs have at hand are not known to be free.
        drop(self.reclaim().close_magazines());
        self.areas_room().pools.give_all_bumps();
        let (blocks, range) = (self.blocks(), self.range());
        let mut address = range.start;
        while address < range.end {
            if let Some(next) = directories::behind_missing(self.platform(), address) {
                address = next;
                continue;
            }
            let found = blocks.foreign_in(blocks.span().block_at(address));
            if found.is_some() {
                return found;
            }
            address += BLOCK_SIZE;
        }
        None
    }
}
