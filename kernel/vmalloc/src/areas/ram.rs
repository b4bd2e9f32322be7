//! Mappings of `vm_map_ram`: the caller's frames, mapped for a short time.
//!
//! A mapping of up to a block of frames shares a block with others, without a guard page between them. Longer
//! ones are runs of blocks, as other areas are.
//!
//! The fast path touches only what the CPU has for itself (`magazines/ram.rs`) and the entries, and takes no
//! lock. There is one for a single page, one for up to [`FEW`], and one for more: each makes fewer checks
//! than a common one would, and calls nothing, so that no register is saved.

use super::Areas;
use crate::{
    AllocError, BLOCK_PAGES, Frame, PAGE_SIZE, Platform,
    magazines::Ram,
    page_table::{Attributes, FEW, map_ram, ram_page, unmap_ram, unmap_ram_page},
    pending::Pressure,
    pools::PageRun,
    span::page_in_block,
    types::Owner,
};
use core::ptr::NonNull;

impl<P: Platform> Areas<P> {
    /// Maps frames in what this CPU has. `None`: they are not to be mapped so.
    #[inline(never)]
    pub fn map_ram_pages(&self, frames: &[Frame], attributes: Attributes) -> Option<NonNull<u8>> {
        if (2..=FEW).contains(&frames.len()) {
            self.map_ram_here(frames, attributes)
        } else {
            self.map_ram_many(frames, attributes)
        }
    }

    #[inline(never)]
    fn map_ram_many(&self, frames: &[Frame], attributes: Attributes) -> Option<NonNull<u8>> {
        if (FEW + 1..=BLOCK_PAGES).contains(&frames.len()) {
            self.map_ram_here(frames, attributes)
        } else {
            None
        }
    }

    /// Maps one frame as [`map_ram_pages`](Self::map_ram_pages) does.
    #[inline(never)]
    pub fn map_ram_page(&self, frame: Frame, attributes: Attributes) -> Option<NonNull<u8>> {
        let pin = self.platform().pin_outside_interrupts()?;
        let ram = &self.magazines.here(&pin).ram;
        let entry = ram_page(frame, attributes);
        let (address, slot) = match ram.take_again(entry) {
            // It was mapped, so CPUs can address it.
            Some(page) => page,
            None if !self.is_addressable(frame) => return None,
            None => ram.take(1).map(|(address, slots)| (address, &slots[0]))?,
        };
        if cfg!(debug_assertions) {
            self.blocks().expect_unused(slot);
        }
        slot.publish(entry);
        NonNull::new(address as *mut u8)
    }

    #[inline(always)]
    fn map_ram_here(&self, frames: &[Frame], attributes: Attributes) -> Option<NonNull<u8>> {
        // It would make long mappings slower by an eighth.
        if cfg!(debug_assertions) && !frames.iter().all(|&frame| self.is_addressable(frame)) {
            return None;
        }
        let pin = self.platform().pin_outside_interrupts()?;
        let (address, slots) = self.magazines.here(&pin).ram.take(frames.len())?;
        if cfg!(debug_assertions) {
            slots.iter().for_each(|slot| self.blocks().expect_unused(slot));
        }
        map_ram(slots, frames, attributes);
        NonNull::new(address as *mut u8)
    }

    /// Maps frames in what the CPU's pool has, all of which it takes for the CPU if it may. `None` as above.
    #[inline(never)]
    pub fn map_ram_near(&self, frames: &[Frame], attributes: Attributes) -> Option<NonNull<u8>> {
        let is_checked = cfg!(debug_assertions) || frames.len() == 1;
        if self.base().is_watched()
            || !(1..=BLOCK_PAGES).contains(&frames.len())
            || is_checked && !frames.iter().all(|&frame| self.is_addressable(frame))
        {
            return None;
        }
        let pin = self.platform().pin_outside_interrupts()?;
        if self.magazines.of(&pin).is_none() {
            self.make_magazines(&pin);
        }
        let ram = self.magazines.of(&pin).map(|magazine| &magazine.ram);
        ram.inspect(|ram| self.give_supply(&pin, ram));
        let block = ram.and_then(|_| self.pools.take_block(&pin, Owner::Caller, frames.len()));
        let (run, rest) = match block {
            Some(run) => (run, Some((run.page + frames.len(), &run.leaf[frames.len()..]))),
            None => {
                let run = self.pools.take_near(&pin, Owner::Caller, frames.len(), 1)?;
                (run, ram.and_then(|_| self.pools.take_rest(&pin, Owner::Caller)))
            }
        };
        if let Some((ram, (page, slots))) = ram.zip(rest) {
            ram.put(self.span().page_address(page), slots);
        }
        drop(pin);
        NonNull::new(self.map_run(&run, frames, attributes) as *mut u8)
    }

    /// Maps frames in a block that is shared, wherever there is room: the address of the mapping.
    pub fn map_ram(&self, frames: &[Frame], attributes: Attributes) -> Result<usize, AllocError> {
        let run = self.pools.take(Owner::Caller, frames.len(), 1)?;
        Ok(self.map_run(&run, frames, attributes))
    }

    /// Maps frames in pages that may have cached frames, which go back: the address of the mapping.
    fn map_run(&self, run: &PageRun<'_>, frames: &[Frame], attributes: Attributes) -> usize {
        let first = run.page % BLOCK_PAGES;
        let slots = &run.leaf[first..first + frames.len()];
        if run.has_frames {
            self.give_cached_frames(slots);
        }
        if cfg!(debug_assertions) {
            slots.iter().for_each(|slot| self.blocks().expect_unused(slot));
        }
        map_ram(slots, frames, attributes);
        self.span().page_address(run.page)
    }

    /// Whether the CPUs can address a frame.
    #[inline(always)]
    pub fn is_addressable(&self, frame: Frame) -> bool {
        self.base().has_address(frame.address())
    }

    /// Unmaps the mapping of `count` pages that starts at `address`, if it shares a block. `None`: nothing was done:
    /// because there is no such mapping, or in an interrupt handler.
    #[inline(never)]
    pub fn unmap_ram(&self, address: usize, count: usize) -> Option<Pressure> {
        if (2..=FEW).contains(&count) {
            self.unmap_ram_here(address, count)
        } else {
            self.unmap_ram_many(address, count)
        }
    }

    #[inline(never)]
    fn unmap_ram_many(&self, address: usize, count: usize) -> Option<Pressure> {
        if (FEW + 1..=BLOCK_PAGES).contains(&count) { self.unmap_ram_here(address, count) } else { None }
    }

    /// Unmaps a mapping of one page as [`unmap_ram`](Self::unmap_ram) does.
    #[inline(never)]
    pub fn unmap_ram_page(&self, address: usize) -> Option<Pressure> {
        let pin = self.platform().pin_outside_interrupts()?;
        let ram = &self.magazines.here(&pin).ram;
        if let Some(slot) = ram.behind(address) {
            // SAFETY: before the page are live ones of its block, those that were unmapped last: so the table is there.
            if let Some(entry) = unmap_ram_page(unsafe { slot.as_ref() }) {
                ram.unmapped_page_behind(slot, entry);
                return Some(Pressure::Low);
            }
        }
        drop(pin);
        self.unmap_ram_elsewhere(address, 1)
    }

    #[inline(always)]
    fn unmap_ram_here(&self, address: usize, count: usize) -> Option<Pressure> {
        let pin = self.platform().pin_outside_interrupts()?;
        let ram = &self.magazines.here(&pin).ram;
        if let Some(first) = ram.behind(address) {
            // SAFETY: before the page are live ones of its block, those that were unmapped last: so the table is there. The
            // callers have checked `count`.
            if unsafe { unmap_ram(first, count) } {
                ram.unmapped_behind(first, count);
                return Some(Pressure::Low);
            }
        }
        drop(pin);
        self.unmap_ram_elsewhere(address, count)
    }

    /// Unmaps a mapping that does not lie behind the one that this CPU unmapped last.
    #[inline(never)]
    fn unmap_ram_elsewhere(&self, address: usize, count: usize) -> Option<Pressure> {
        // Who looks at each call needs more than the address.
        if self.base().is_watched() {
            return None;
        }
        self.unmap_ram_there(address, count)
    }

    /// Unmaps a mapping as [`unmap_ram`](Self::unmap_ram) does, whether or not the instance is watched.
    pub fn unmap_ram_there(&self, address: usize, count: usize) -> Option<Pressure> {
        let pin = &self.platform().pin_outside_interrupts()?;
        let (first, leaf) = self.pools.small_page(pin, address)?;
        let slots = &leaf[first..];
        let behind = slots.get(count..)?;
        // SAFETY: the entries are in the table of a block that has live pages, the mapping's; there are as many. Whoever unmaps
        // what they do not have breaks the contract of the call.
        if !unsafe { unmap_ram(NonNull::from(slots).cast(), count) } {
            return None;
        }
        // Behind it another one as long is to have room.
        let Some(magazine) = self.magazines.of(pin).filter(|_| count <= behind.len()) else {
            return Some(self.retire_ram(pin, address, count));
        };
        let pressure = self.retire_unmapped(pin, &magazine.ram);
        magazine.ram.unmapped_elsewhere(address + count * PAGE_SIZE, behind, count);
        Some(pressure)
    }

    fn retire_ram(&self, pin: &P::Pin, address: usize, count: usize) -> Pressure {
        let block = self.blocks().block(self.span().block_at(address), pin);
        self.pending().retire(pin, block, page_in_block(address), count, Owner::Caller)
    }

    /// Retires what was unmapped last.
    fn retire_unmapped(&self, pin: &P::Pin, ram: &Ram) -> Pressure {
        ram.unmapped().map_or(Pressure::Low, |(address, count)| self.retire_ram(pin, address, count))
    }

    /// Retires what this CPU has unmapped, for who purges now.
    pub fn retire_unmapped_here(&self) {
        let pin = self.platform().pin();
        if let Some(magazine) = self.magazines.of(&pin) {
            self.retire_unmapped(&pin, &magazine.ram).leave_to_caller();
            magazine.ram.forget();
        }
    }

    /// Returns whether CPUs may have unmapped something that they have not retired.
    pub fn may_be_unmapped_elsewhere(&self) -> bool {
        let relinked = self.magazines.relinked();
        // In this order: what is not linked any more is being released, or was linked again since.
        self.magazines.unmapped(&self.platform().pin()) > 0
            || self.magazines.are_being_released()
            || self.magazines.relinked() != relinked
    }

    /// Gives back the pages of the supply.
    fn give_supply(&self, pin: &P::Pin, ram: &Ram) {
        if let Some((address, count)) = ram.take_all() {
            let page = self.span().block_at(address) * BLOCK_PAGES + page_in_block(address);
            self.pools.give_unused(pin, page, count);
        }
    }

    /// Gives back or retires all that a CPU had. Its magazine may come to be used again.
    pub(super) fn give_ram(&self, pin: &P::Pin, ram: &Ram) {
        self.retire_unmapped(pin, ram).leave_to_caller();
        ram.forget();
        self.give_supply(pin, ram);
    }
}
