//! `vm_map_ram`: frames of the caller's, mapped for a short time.
//!
//! Up to a block of them share a block with other mappings, without a guard page between. The first two
//! entries say how many pages a mapping has, so that unmapping anything but whole mappings is refused.
//! Longer ones are runs of blocks, as other areas are.

use crate::{
    AllocError, FreeError, Vmalloc,
    blocks::block::Block,
    page_table::entry::{Attributes, Cache, Entry, Kind, Protection},
    platform::{BLOCK_PAGES, Frame, PAGE_SIZE, Platform},
    pools::pool::{SmallRun, Supply},
    reclaim::shortage::Shortage,
    tlb::shootdown::{Forbid, Reach},
    types::request::Backing,
};
use core::{
    panic::Location,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// Entries written in one go of a loop.
const UNROLL: usize = 8;

impl<P: Platform> Vmalloc<P> {
    /// Maps frames of the caller's, in their order, to contiguous addresses, as [`vmap`](Self::vmap) does,
    /// but without a guard page behind, and faster. For mappings that soon go again: one that stays holds
    /// up a block that others share. Whether the CPUs can address each of several frames is only asked in builds with
    /// debug assertions: one that they cannot faults when it is used. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[inline]
    #[track_caller]
    pub fn vm_map_ram(&self, frames: &[Frame], protection: Protection) -> Result<NonNull<u8>, AllocError> {
        let attributes = Attributes::ram(protection);
        let made = match frames {
            &[frame] => self.map_ram_page_plainly(frame, attributes.of_ram_page()),
            _ => self.map_ram_plainly(frames, attributes),
        };
        if let Some(start) = made {
            return Ok(start);
        }
        let caller = Location::caller();
        let made = self.map_ram_otherwise(frames, protection, caller);
        self.traced(frames.len().saturating_mul(PAGE_SIZE), caller, made)
    }

    /// In what this CPU has taken ahead, the way of nearly all. `None`: there is not enough of that.
    #[inline(never)]
    fn map_ram_plainly(&self, frames: &[Frame], attributes: Attributes) -> Option<NonNull<u8>> {
        // It would make long mappings slower by an eighth.
        if cfg!(debug_assertions) && self.check_frames(frames).is_err() {
            return None;
        }
        let Some(run) = self.take_ahead_for_ram(frames.len()) else {
            return self.map_ram_listed(frames, attributes);
        };
        NonNull::new(self.map_ram(&run, frames, attributes) as *mut u8)
    }

    /// The same in what the CPU's current block has, or one of its other blocks.
    #[cold]
    #[inline(never)]
    fn map_ram_listed(&self, frames: &[Frame], attributes: Attributes) -> Option<NonNull<u8>> {
        let count = frames.len();
        if self.is_traced() || count.wrapping_sub(1) >= BLOCK_PAGES {
            return None;
        }
        let pin = self.platform.pin_outside_interrupts()?;
        let run = self.take_locked(&pin, Supply::Foreign, count, 1);
        let run = run.or_else(|| self.take_listed(&pin, Supply::Foreign, count, 1))?;
        drop(pin);
        NonNull::new(self.map_ram(&run, frames, attributes) as *mut u8)
    }

    /// The same of one page.
    #[inline(never)]
    fn map_ram_page_plainly(&self, frame: Frame, attributes: Attributes) -> Option<NonNull<u8>> {
        if frame.address() >= self.physical_end {
            return None;
        }
        let SmallRun { page, leaf, .. } = self.take_ahead_for_ram(1)?;
        leaf[page % BLOCK_PAGES].store(Entry::page(frame, attributes).0, Ordering::Release);
        NonNull::new(self.page_address(page) as *mut u8)
    }

    #[inline(always)]
    fn take_ahead_for_ram(&self, count: usize) -> Option<SmallRun<'_>> {
        if self.is_traced() {
            return None;
        }
        let pin = self.platform.pin_outside_interrupts()?;
        let (page, leaf) = self.pool(&pin, Supply::Foreign).ahead.take(count)?;
        Some(SmallRun { page, leaf, keeps: false })
    }

    #[inline(never)]
    fn map_ram_otherwise(
        &self,
        frames: &[Frame],
        protection: Protection,
        caller: &'static Location<'static>,
    ) -> Result<NonNull<u8>, AllocError> {
        self.refuse_in_interrupt()?;
        self.check_frames(frames)?;
        let (pages, _) = self.pages_for(frames.len().saturating_mul(PAGE_SIZE))?;
        if pages > BLOCK_PAGES {
            let backing = Backing::Frames(frames);
            return self
                .make(&Self::foreign(pages, Kind::VmMapRam, protection, Cache::WriteBack, backing), caller);
        }
        let shortage = Shortage { frames: 0, ticket: self.purge_ticket() };
        let take = || self.take_pages(Supply::Foreign, pages, 1);
        let run = take().or_else(|error| self.make_room(error, shortage, take))?;
        let start = self.map_ram(&run, frames, Attributes::ram(protection));
        NonNull::new(start as *mut u8).ok_or(AllocError::OutOfAddressSpace)
    }

    /// Writes the entries of a mapping: its address.
    #[inline(always)]
    fn map_ram(&self, run: &SmallRun<'_>, frames: &[Frame], attributes: Attributes) -> usize {
        let count = frames.len();
        let Some(slots) = run.leaf.get(run.page % BLOCK_PAGES..).and_then(|slots| slots.get(..count)) else {
            unreachable!("a run of pages ends in its block")
        };
        if run.keeps {
            self.give_kept_frames(slots);
        }
        let map = |slot: &AtomicU64, frame| slot.store(Entry::page(frame, attributes).0, Ordering::Relaxed);
        let (whole, rest) = slots.as_chunks::<UNROLL>();
        let (whole_frames, rest_frames) = frames.as_chunks::<UNROLL>();
        for (slots, &frames) in whole.iter().zip(whole_frames) {
            slots.iter().zip(frames).for_each(|(slot, frame)| map(slot, frame));
        }
        rest.iter().zip(rest_frames).for_each(|(slot, &frame)| map(slot, frame));
        // A CPU may set accessed and dirty bits in the entries: they are set.
        let entry = |slot: &AtomicU64| Entry(slot.load(Ordering::Relaxed));
        if let [first, rest @ ..] = slots {
            if let [second, ..] = rest {
                second.store(entry(second).with_ram_second(count).0, Ordering::Relaxed);
            }
            let last = rest.last().unwrap_or(first);
            last.store(entry(last).with_last().0, Ordering::Relaxed);
            // Last: it makes the mapping known.
            first.store(entry(first).with_ram_start(count).0, Ordering::Release);
        }
        self.page_address(run.page)
    }

    /// Unmaps the `count` pages of the mapping, made by [`vm_map_ram`](Self::vm_map_ram), that starts at
    /// `address`. CPUs may still reach the frames by old translations until
    /// [`vm_unmap_aliases`](Self::vm_unmap_aliases). Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`FreeError`]; nothing has changed then.
    ///
    /// # Safety
    /// Nobody uses the mapping any more.
    #[inline]
    #[track_caller]
    pub unsafe fn vm_unmap_ram(&self, address: NonNull<u8>, count: usize) -> Result<(), FreeError> {
        let address = address.as_ptr() as usize;
        let unmapped = match count {
            1 => self.unmap_ram_page_plainly(address),
            _ => self.unmap_ram_plainly(address, count),
        };
        if unmapped { Ok(()) } else { self.unmap_ram_otherwise(address, count, Location::caller()) }
    }

    /// In a block that is shared, the way of nearly all. `false`: nothing was done.
    #[inline(never)]
    fn unmap_ram_plainly(&self, address: usize, count: usize) -> bool {
        !self.is_traced() && self.unmap_ram(address, count, |_, _| ())
    }

    /// The same of one page.
    #[inline(never)]
    fn unmap_ram_page_plainly(&self, address: usize) -> bool {
        !self.is_traced() && self.unmap_ram(address, 1, |_, _| ())
    }

    /// `false`: nothing was done, because there is no such mapping, or it is a run, or in an interrupt handler. Tells `going` its place
    /// before anybody else can have it.
    #[inline(always)]
    fn unmap_ram(&self, address: usize, count: usize, going: impl FnOnce(&Block, usize)) -> bool {
        let Some(page) = self.page(address) else { return false };
        let Some(pin) = self.platform.pin_outside_interrupts() else { return false };
        let (number, first) = (page / BLOCK_PAGES, page % BLOCK_PAGES);
        let Some(block) = self.near(&pin, Supply::Foreign, number) else { return false };
        // The lock decides between two calls for one mapping.
        let pages = block.pages.lock(&pin);
        let Some(slots) = self.ram_mapping(block, first, count) else { return false };
        let forget = |slot: &AtomicU64| slot.store(Entry::UNUSED.0, Ordering::Relaxed);
        if let [slot] = slots {
            forget(slot);
        } else {
            let (whole, rest) = slots.as_chunks::<UNROLL>();
            whole.iter().for_each(|slots| slots.iter().for_each(forget));
            rest.iter().for_each(forget);
        }
        going(block, first);
        self.retire_locked(&pin, pages, block.number(), first, count);
        self.count_retired(pin, count);
        true
    }

    /// The entries of the mapping of `count` pages that starts at page `first` of a block, if there is one. Only
    /// blocks that are shared have such entries.
    #[inline(always)]
    fn ram_mapping(&self, block: &Block, first: usize, count: usize) -> Option<&[AtomicU64]> {
        let slots = block.leaf(&self.platform)?.get(first..)?.get(..count)?;
        let entry = |slot: &AtomicU64| Entry(slot.load(Ordering::Acquire));
        let (start, rest) = slots.split_first()?;
        let second = rest.first().map_or(Entry::UNUSED, entry);
        entry(start).starts_ram(count, second).then_some(slots)
    }

    #[inline(never)]
    fn unmap_ram_otherwise(
        &self,
        address: usize,
        count: usize,
        caller: &'static Location<'static>,
    ) -> Result<(), FreeError> {
        if self.platform.in_interrupt() {
            return Err(FreeError::InInterrupt { address, caller });
        }
        let trace = |block: &Block, first: usize| {
            if self.is_traced() {
                self.trace_free(block, first, count);
            }
        };
        if self.unmap_ram(address, count, trace) {
            return Ok(());
        }
        match self.find_area(address) {
            Some(area) if area.start == address && area.kind == Kind::VmMapRam => {
                if area.pages != count {
                    return Err(FreeError::WrongLength { pages: count, area, caller });
                }
                // Of two calls for one mapping, one finds it gone.
                if self.unmap_area(address, false) {
                    return Ok(());
                }
                Err(FreeError::NotAllocated { address, caller })
            }
            _ => Err(self.why_not(address, caller)),
        }
    }

    /// Makes every CPU forget what was unmapped before this call, isolated ones too. For who is about to
    /// give frames away that [`vmap`](Self::vmap) or [`vm_map_ram`](Self::vm_map_ram) had mapped, or to change
    /// how they are cached elsewhere.
    ///
    /// # Panics
    /// In an interrupt handler.
    pub fn vm_unmap_aliases(&self) {
        self.assert_not_in_interrupt("vm_unmap_aliases");
        if self.purge_reaching(Reach::Everyone).is_none() {
            // Another thread purges, and the caller must not wait for it.
            self.trace_flush(None);
            let pin = self.platform.pin();
            let shootdown = self.platform.shootdown();
            shootdown.round(&self.platform, shootdown.stamp(), Reach::Everyone, Forbid::Use);
            drop(pin);
        }
    }
}
