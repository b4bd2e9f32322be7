//! Mappings of `vm_map_ram`: frames of the caller's, for a short time.
//!
//! Up to a block of them share a block with other mappings, without a guard page between. The first two entries say how
//! many pages a mapping has, so that unmapping anything but whole mappings is refused. Longer ones are runs of blocks,
//! as other areas are.
//!
//! As with small areas, one page has a fast path of its own, which takes it from the CPU's bump run alone.

use super::Areas;
use crate::{
    AllocError, BLOCK_PAGES, Frame, Platform,
    blocks::Block,
    page_table::{Attributes, Entry, Slot},
    pending::Pressure,
    pools::PageRun,
    types::Owner,
};
use core::ptr::NonNull;

/// Entries written in one go of a loop.
const UNROLL: usize = 8;

impl<P: Platform> Areas<P> {
    /// Maps frames in what the CPU's pool has. `None`: they are not to be mapped so.
    #[inline(never)]
    pub fn map_ram_fast(&self, frames: &[Frame], attributes: Attributes) -> Option<NonNull<u8>> {
        let count = frames.len();
        if self.base().is_traced() || count.wrapping_sub(1) >= BLOCK_PAGES {
            return None;
        }
        // It would make long mappings slower by an eighth.
        if cfg!(debug_assertions) && !frames.iter().all(|&frame| self.is_addressable(frame)) {
            return None;
        }
        let pin = self.platform().pin_outside_interrupts()?;
        let Some(run) = self.pools.take_bump(&pin, Owner::Caller, count) else {
            drop(pin);
            return self.map_ram_near(frames, attributes);
        };
        drop(pin);
        NonNull::new(self.map_pages(&run, frames, attributes) as *mut u8)
    }

    /// Maps frames in the CPU's current block, or in another of its pool.
    // Apart: where the bump run serves, 9 instructions less for 4 pages.
    #[cold]
    #[inline(never)]
    fn map_ram_near(&self, frames: &[Frame], attributes: Attributes) -> Option<NonNull<u8>> {
        let run = self.pools.take_near(&self.platform().pin(), Owner::Caller, frames.len(), 1)?;
        NonNull::new(self.map_run(&run, frames, attributes) as *mut u8)
    }

    /// Maps one frame, in the CPU's bump run, as [`map_ram_fast`](Self::map_ram_fast) does.
    #[inline(never)]
    pub fn map_ram_page_fast(&self, frame: Frame, attributes: Attributes) -> Option<NonNull<u8>> {
        if self.base().is_traced() || !self.is_addressable(frame) {
            return None;
        }
        let pin = self.platform().pin_outside_interrupts()?;
        let run = self.pools.take_bump(&pin, Owner::Caller, 1)?;
        drop(pin);
        NonNull::new(self.map_pages(&run, &[frame], attributes) as *mut u8)
    }

    /// Maps frames in a block that is shared, wherever there is room: the address of the mapping.
    pub fn map_ram(&self, frames: &[Frame], attributes: Attributes) -> Result<usize, AllocError> {
        let run = self.pools.take(Owner::Caller, frames.len(), 1)?;
        Ok(self.map_run(&run, frames, attributes))
    }

    /// Maps frames in pages that may have cached frames, which go back: the address of the mapping.
    #[inline(always)]
    fn map_run(&self, run: &PageRun<'_>, frames: &[Frame], attributes: Attributes) -> usize {
        if run.has_frames {
            let first = run.page % BLOCK_PAGES;
            self.give_cached_frames(&run.leaf[first..first + frames.len()]);
        }
        self.map_pages(run, frames, attributes)
    }

    /// Whether the CPUs can address a frame.
    #[inline(always)]
    pub fn is_addressable(&self, frame: Frame) -> bool {
        self.base().is_addressable(frame.address() + 1)
    }

    /// Writes the entries of a mapping: its address.
    #[inline(always)]
    fn map_pages(&self, run: &PageRun<'_>, frames: &[Frame], attributes: Attributes) -> usize {
        let count = frames.len();
        let Some(slots) = run.leaf.get(run.page % BLOCK_PAGES..).and_then(|slots| slots.get(..count)) else {
            unreachable!("a run of pages ends in its block")
        };
        if let ([slot], &[frame]) = (slots, frames) {
            slot.publish(Entry::page(frame, attributes.of_ram_page()));
            return self.span().page_address(run.page);
        }
        let map = |slot: &Slot, frame| slot.set(Entry::page(frame, attributes));
        let (whole, rest) = slots.as_chunks::<UNROLL>();
        let (whole_frames, rest_frames) = frames.as_chunks::<UNROLL>();
        for (slots, &frames) in whole.iter().zip(whole_frames) {
            slots.iter().zip(frames).for_each(|(slot, frame)| map(slot, frame));
        }
        rest.iter().zip(rest_frames).for_each(|(slot, &frame)| map(slot, frame));
        // A CPU may set accessed and dirty bits in the entries: they are set.
        if let [first, second, ..] = slots {
            second.change(|entry| entry.with_ram_second(count));
            slots[count - 1].change(Entry::with_last);
            // Last: it makes the mapping known.
            first.publish(first.get().with_ram_start(count));
        }
        self.span().page_address(run.page)
    }

    /// Unmaps the mapping of `count` pages that starts at `address`, if it shares a block. `None`: nothing was done:
    /// because there is no such mapping, or in an interrupt handler, or because it is to be traced.
    #[inline(never)]
    pub fn unmap_ram_fast(&self, address: usize, count: usize) -> Option<Pressure> {
        if self.base().is_traced() { None } else { self.unmap_ram_in::<false>(address, count) }
    }

    /// Unmaps a mapping of one page as [`unmap_ram_fast`](Self::unmap_ram_fast) does.
    #[inline(never)]
    pub fn unmap_ram_page_fast(&self, address: usize) -> Option<Pressure> {
        if self.base().is_traced() { None } else { self.unmap_ram_in::<false>(address, 1) }
    }

    /// Unmaps a mapping as [`unmap_ram_fast`](Self::unmap_ram_fast) does, traced or not.
    #[cold]
    pub fn unmap_ram(&self, address: usize, count: usize) -> Option<Pressure> {
        self.unmap_ram_in::<true>(address, count)
    }

    #[inline(always)]
    fn unmap_ram_in<const TRACED: bool>(&self, address: usize, count: usize) -> Option<Pressure> {
        let page = self.span().page_starting_at(address)?;
        let pin = self.platform().pin_outside_interrupts()?;
        let (number, first) = (page / BLOCK_PAGES, page % BLOCK_PAGES);
        let block = self.pools.find_block(&pin, Owner::Caller, number)?;
        // The lock decides between two calls for one mapping.
        let mut pages = block.pages.lock(&pin);
        let slots = self.ram_mapping(block, first, count)?;
        if let [slot] = slots {
            slot.set_unused();
        } else {
            let (whole, rest) = slots.as_chunks::<UNROLL>();
            whole.iter().for_each(|slots| slots.iter().for_each(Slot::set_unused));
            rest.iter().for_each(Slot::set_unused);
        }
        if TRACED {
            self.base().trace_free(number, first, count);
        }
        let is_unlisted = pages.retire(first, count, Owner::Caller);
        drop(pages);
        Some(self.pending().retired(&pin, block, count, is_unlisted))
    }

    /// The entries of the mapping of `count` pages that starts at page `first` of a block, if there is one. Only
    /// blocks that are shared have such entries.
    #[inline(always)]
    fn ram_mapping(&self, block: &Block, first: usize, count: usize) -> Option<&[Slot]> {
        let slots = block.leaf(self.platform())?.get(first..)?.get(..count)?;
        let (start, rest) = slots.split_first()?;
        let second = rest.first().map_or(Entry::UNUSED, Slot::look);
        start.look().starts_ram(count, second).then_some(slots)
    }
}
