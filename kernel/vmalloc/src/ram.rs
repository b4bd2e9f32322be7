//! `vm_map_ram`: frames of the caller's, mapped for a short time.
//!
//! Up to a block of them share a block with other mappings, without a guard page between. The first two
//! entries say how many pages a mapping has, so that unmapping anything but whole mappings is refused.
//! Longer ones are runs of blocks, as other areas are.

use crate::{
    AllocError, FreeError, Vmalloc,
    block::{Block, Role},
    entry::{Attributes, Cache, Entry, Kind, Protection},
    platform::{BLOCK_PAGES, Frame, PAGE_SIZE, Platform},
    pool::{SmallRun, Supply},
    request::Backing,
    shootdown::Reach,
};
use core::{
    panic::Location,
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

/// Entries written in one go of a loop.
const UNROLL: usize = 8;

impl<P: Platform> Vmalloc<P> {
    /// Maps frames of the caller's, in their order, to contiguous addresses, as [`vmap`](Self::vmap) does,
    /// but without a guard page behind, and faster. For mappings that soon go again: one that stays holds
    /// up a block that others share.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[inline]
    #[track_caller]
    pub fn vm_map_ram(&self, frames: &[Frame], protection: Protection) -> Result<NonNull<u8>, AllocError> {
        match self.map_ram_plainly(frames, Attributes::ram(protection)) {
            Some(start) => Ok(start),
            None => {
                let caller = Location::caller();
                let made = self.map_ram_otherwise(frames, protection, caller);
                self.traced(frames.len().saturating_mul(PAGE_SIZE), caller, made)
            }
        }
    }

    /// In this CPU's current block, the way of nearly all.
    #[inline(never)]
    fn map_ram_plainly(&self, frames: &[Frame], attributes: Attributes) -> Option<NonNull<u8>> {
        if self.is_traced() {
            return None;
        }
        let start = match frames {
            &[frame] => {
                let run = self.take_current(&self.platform.pin(), Supply::Foreign, 1, 1)?;
                self.map_ram_page(&run, frame, attributes)
            }
            _ if frames.is_empty() || frames.len() > BLOCK_PAGES => return None,
            _ => {
                let run = self.take_current(&self.platform.pin(), Supply::Foreign, frames.len(), 1)?;
                self.map_ram(&run, frames, attributes)
            }
        };
        NonNull::new(start as *mut u8)
    }

    #[inline(never)]
    fn map_ram_otherwise(
        &self,
        frames: &[Frame],
        protection: Protection,
        caller: &'static Location<'static>,
    ) -> Result<NonNull<u8>, AllocError> {
        if frames.is_empty() {
            return Err(AllocError::NoFrames);
        }
        let (pages, _) = self.pages_for(frames.len().saturating_mul(PAGE_SIZE))?;
        if pages > BLOCK_PAGES {
            let backing = Backing::Frames(frames);
            return self
                .make(&Self::foreign(pages, Kind::VmMapRam, protection, Cache::WriteBack, backing), caller);
        }
        let ticket = self.purge_ticket();
        let take = || self.take_pages(Supply::Foreign, pages, 1);
        let run = take().or_else(|error| self.make_room(error, ticket, true, take))?;
        let start = self.map_ram(&run, frames, Attributes::ram(protection));
        NonNull::new(start as *mut u8).ok_or(AllocError::OutOfAddressSpace)
    }

    /// Writes the entry of a mapping of one page: its address.
    #[inline(always)]
    fn map_ram_page(&self, run: &SmallRun<'_>, frame: Frame, attributes: Attributes) -> usize {
        let slot = &self.small_leaf(run.block)[run.first];
        if run.keeps {
            self.give_kept_frames(slice::from_ref(slot));
        }
        let entry = Entry::page(frame, attributes).with_ram_start(1).with_last();
        slot.store(entry.0, Ordering::Release);
        self.address(run.block.number(), run.first)
    }

    /// Writes the entries of a mapping: its address.
    #[inline(always)]
    fn map_ram(&self, run: &SmallRun<'_>, frames: &[Frame], attributes: Attributes) -> usize {
        let count = frames.len();
        let Some(slots) = self.small_leaf(run.block).get(run.first..).and_then(|slots| slots.get(..count))
        else {
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
        self.address(run.block.number(), run.first)
    }

    /// Unmaps the `count` pages of the mapping, made by [`vm_map_ram`](Self::vm_map_ram), that starts at
    /// `address`. CPUs may still reach the frames by old translations until
    /// [`vm_unmap_aliases`](Self::vm_unmap_aliases).
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
        if self.unmap_ram_plainly(address, count) {
            Ok(())
        } else {
            self.unmap_ram_otherwise(address, count, Location::caller())
        }
    }

    /// In a block that is shared, the way of nearly all. `false`: nothing was done.
    #[inline(never)]
    fn unmap_ram_plainly(&self, address: usize, count: usize) -> bool {
        !self.platform.in_interrupt() && !self.is_traced() && self.unmap_ram(address, count, |_, _| ())
    }

    /// `false`: nothing was done, because there is no such mapping, or it is a run. Tells `going` its place
    /// before anybody else can have it.
    #[inline(always)]
    fn unmap_ram(&self, address: usize, count: usize, going: impl FnOnce(&Block, usize)) -> bool {
        let Some((block, first)) = self.place(address) else { return false };
        if !matches!(block.role(), Role::Small { .. }) {
            return false;
        }
        let pin = self.platform.pin();
        // The lock decides between two calls for one mapping.
        let pages = block.pages.lock(&pin);
        let Some(slots) = self.ram_mapping(block, first, count) else { return false };
        let (whole, rest) = slots.as_chunks::<{ 2 * UNROLL }>();
        let forget = |slot: &AtomicU64| slot.store(Entry::UNUSED.0, Ordering::Relaxed);
        whole.iter().for_each(|slots| slots.iter().for_each(forget));
        rest.iter().for_each(forget);
        going(block, first);
        self.retire_locked(&pin, pages, &SmallRun::at(block, first), count);
        self.count_retired(pin, count);
        true
    }

    /// The entries of the mapping of `count` pages that starts at page `first` of a block, if there is one.
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
    pub fn vm_unmap_aliases(&self) {
        if self.purge_reaching(Reach::Everyone).is_none() {
            // Another thread purges, and the caller must not wait for it.
            self.trace_flush(None);
            let pin = self.platform.pin();
            let shootdown = self.platform.shootdown();
            shootdown.round(&self.platform, shootdown.stamp(), Reach::Everyone);
            drop(pin);
        }
    }
}
