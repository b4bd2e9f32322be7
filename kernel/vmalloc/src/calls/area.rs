//! Areas: `vmalloc` and its relatives, `vmap`, `ioremap`, and giving them back.
//!
//! An area that fits half a block with its guard page behind it is *small* (`small.rs`): a run of pages of
//! a block it shares with others. A larger one, or one aligned to more than half a block, is a *run*
//! of blocks of its own (`run.rs`), with its own tables.
//!
//! ```text
//! free ──take──▶ mapped ──unmap──▶ quarantined ──purge: flush──▶ free, mostly with its frames
//! ```
//! Each page of address space has one owner in each of these states, so entries are written
//! without a lock. The first entry is written last, and cleared first by compare-and-swap: it
//! decides which of two calls to `vfree` is the one that frees.

use crate::{
    AllocError, FreeError, Request, Vmalloc,
    areas::small::Claimed,
    blocks::block::{Block, Role},
    blocks::table::Reader,
    page_table::entry::{Entry, GuardInfo, Kind},
    platform::{BLOCK_PAGES, Frame, PAGE_SHIFT, PAGE_SIZE, Platform},
    pools::pool::Supply,
    reclaim::purge::Ticket,
    reclaim::shortage::Shortage,
    types::request::{Backing, Shape},
};
use core::{
    panic::Location,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

impl<P: Platform> Vmalloc<P> {
    /// Allocates `size` bytes, contiguous in kernel virtual address space, of undefined contents,
    /// readable and writable, with a guard page behind. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    #[inline]
    pub fn vmalloc(&self, size: usize) -> Result<NonNull<u8>, AllocError> {
        self.allocate(Request::new(size))
    }

    /// Allocates as [`vmalloc`](Self::vmalloc) does, filled with zeros. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    pub fn vzalloc(&self, size: usize) -> Result<NonNull<u8>, AllocError> {
        self.allocate(Request::new(size).zeroed())
    }

    /// Allocates what `request` asks for. Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    #[track_caller]
    #[inline]
    pub fn allocate(&self, request: Request) -> Result<NonNull<u8>, AllocError> {
        let caller = Location::caller();
        if let Some(size) = request.plain_size() {
            let attributes = request.attributes();
            if (1..=PAGE_SIZE).contains(&size)
                && let Some(area) = self.allocate_page_plainly(size, attributes, caller)
            {
                return Ok(area);
            }
            if let Some(area) = self.allocate_plainly(size, attributes, caller) {
                return Ok(area);
            }
        }
        self.allocate_otherwise(request, caller)
    }

    #[inline(never)]
    fn allocate_otherwise(
        &self,
        request: Request,
        caller: &'static Location<'static>,
    ) -> Result<NonNull<u8>, AllocError> {
        let made = self.check(request).and_then(|shape| self.make(&shape, caller));
        self.traced(request.size(), caller, made)
    }

    pub(crate) fn refuse_in_interrupt(&self) -> Result<(), AllocError> {
        if self.platform.in_interrupt() { Err(AllocError::InInterrupt) } else { Ok(()) }
    }

    /// Asserts that no interrupt handler makes a call that has no error to refuse it with.
    #[track_caller]
    pub(crate) fn assert_not_in_interrupt(&self, call: &str) {
        assert!(!self.platform.in_interrupt(), "{call} was called in an interrupt handler");
    }

    #[inline]
    pub(crate) fn make(
        &self,
        shape: &Shape<'_>,
        caller: &'static Location<'static>,
    ) -> Result<NonNull<u8>, AllocError> {
        self.refuse_in_interrupt()?;
        let ticket = self.purge_ticket();
        let made = match self.try_make(shape, caller) {
            Ok(made) => made,
            Err(error) => self.make_after(error, shape, ticket, caller)?,
        };
        match NonNull::new(made as *mut u8) {
            Some(address) => Ok(address),
            None => unreachable!("the range does not start at zero"),
        }
    }

    /// Makes an area that could not be made, unless it is not to wait.
    #[cold]
    #[inline(never)]
    fn make_after(
        &self,
        error: AllocError,
        shape: &Shape<'_>,
        ticket: Ticket,
        caller: &'static Location<'static>,
    ) -> Result<usize, AllocError> {
        if shape.wait {
            return self.make_room(error, Shortage::of(shape, ticket), || self.try_make(shape, caller));
        }
        self.turn.note_failure();
        Err(error)
    }

    #[inline]
    fn try_make(&self, shape: &Shape<'_>, caller: &'static Location<'static>) -> Result<usize, AllocError> {
        let guard = GuardInfo { slack: shape.slack, kind: shape.kind, caller };
        if shape.is_small() {
            return self.allocate_small(shape, guard);
        }
        match self.allocate_run(shape, guard) {
            Err(AllocError::OutOfAddressSpace) if shape.fits_block() => self.allocate_small(shape, guard),
            made => made,
        }
    }

    /// Maps pages `from..` of an area in these entries, until frames run out: how many.
    #[inline]
    pub(crate) fn fill(&self, entries: &[AtomicU64], from: usize, shape: &Shape<'_>) -> usize {
        debug_assert!(entries.iter().all(|slot| Entry(slot.load(Ordering::Relaxed)).is_unused()));
        let map = |slot: &AtomicU64, frame| {
            slot.store(Entry::page(frame, shape.attributes).0, Ordering::Relaxed);
        };
        match shape.backing {
            Backing::Owned { .. } => {
                let mut slots = entries.iter();
                self.platform.take_frames(entries.len(), |frame| {
                    if shape.attributes.are_zeroed() {
                        self.zero(frame);
                    }
                    if let Some(slot) = slots.next() {
                        map(slot, frame);
                    }
                })
            }
            Backing::Frames(frames) => {
                let frames = &frames[from..from + entries.len()];
                entries.iter().zip(frames).for_each(|(slot, &frame)| map(slot, frame));
                entries.len()
            }
            Backing::Physical(first) => {
                let numbers = first.number() + from as u64..;
                entries.iter().zip(numbers).for_each(|(slot, number)| map(slot, Frame::new(number)));
                entries.len()
            }
        }
    }

    pub(crate) fn zero(&self, frame: Frame) {
        // SAFETY: the frame was taken and not mapped yet, so it is ours alone (promises 1 and 2 of
        // `Platform`).
        unsafe { self.platform.direct_map(frame).cast::<[u64; PAGE_SIZE / 8]>().write([0; PAGE_SIZE / 8]) };
    }

    /// Frees the area that starts at `address`: its frames and its address space. In an interrupt handler
    /// it notes the area, and the next purge frees it.
    ///
    /// # Errors
    /// See [`FreeError`]; nothing has changed then.
    ///
    /// # Safety
    /// Nobody uses the area any more.
    #[inline]
    #[track_caller]
    pub unsafe fn vfree(&self, address: NonNull<u8>) -> Result<(), FreeError> {
        let address = address.as_ptr() as usize;
        if self.free_plainly(address) { Ok(()) } else { self.free_otherwise(address, Location::caller()) }
    }

    /// Frees a small area that owns its frames, the way of nearly all; `false`: nothing was done.
    #[inline(never)]
    fn free_plainly(&self, address: usize) -> bool {
        let Some(page) = self.page(address) else { return false };
        let Some(pin) = self.platform.pin_outside_interrupts() else { return false };
        let (number, first) = (page / BLOCK_PAGES, page % BLOCK_PAGES);
        let Some(block) = self.near(&pin, Supply::Owned, number) else { return false };
        if !matches!(block.role(), Role::Small { .. }) {
            return false;
        }
        let Some(claimed) = self.claim_small(block, first, true) else { return false };
        self.free_claimed(pin, claimed);
        true
    }

    #[inline(never)]
    fn free_otherwise(&self, address: usize, caller: &'static Location<'static>) -> Result<(), FreeError> {
        let freed = if self.platform.in_interrupt() {
            self.defer_free(address)
        } else {
            self.unmap_area(address, true)
        };
        if freed { Ok(()) } else { Err(self.why_not(address, caller)) }
    }

    /// Unmaps the area, made by [`vmap`](Self::vmap) or [`ioremap`](Self::ioremap), that starts at
    /// `address`, or in whose first page it lies if a device's registers did. CPUs may still reach the
    /// frames by old translations until [`vm_unmap_aliases`](Self::vm_unmap_aliases). Refused in an interrupt handler.
    ///
    /// # Errors
    /// See [`FreeError`]; nothing has changed then.
    ///
    /// # Safety
    /// Nobody uses the area any more.
    #[track_caller]
    pub unsafe fn vunmap(&self, address: NonNull<u8>) -> Result<(), FreeError> {
        let (address, caller) = (address.as_ptr() as usize, Location::caller());
        if self.platform.in_interrupt() {
            return Err(FreeError::InInterrupt { address, caller });
        }
        let start = match self.find_area(address) {
            Some(area) if area.kind == Kind::Ioremap => address & !(PAGE_SIZE - 1),
            // Only a long one could be taken for another area.
            Some(area) if area.kind == Kind::VmMapRam => return Err(self.why_not(address, caller)),
            _ => address,
        };
        if self.unmap_area(start, false) { Ok(()) } else { Err(self.why_not(address, caller)) }
    }

    /// Unmaps an area that owns its frames, or that does not; `false`: none starts there.
    pub(crate) fn unmap_area(&self, address: usize, owned: bool) -> bool {
        let pin = self.platform.pin();
        let Some((block, page)) = self.place(address, &pin) else { return false };
        match block.role() {
            Role::Small { .. } => {
                let Some(claimed) = self.claim_any_small(block, page, owned) else { return false };
                if owned {
                    self.free_any_claimed(pin, claimed)
                } else {
                    self.free_foreign(pin, claimed)
                }
                true
            }
            Role::Head { .. } if page == 0 => {
                let first = block.number();
                drop(pin);
                self.free_run(first, owned)
            }
            _ => false,
        }
    }

    /// The block that a page-aligned address lies in, and its page there. `None`: no area starts there.
    #[inline(always)]
    pub(crate) fn place<'a>(&'a self, address: usize, reader: &'a impl Reader) -> Option<(&'a Block, usize)> {
        let page = self.page(address)?;
        Some((self.table.get(page / BLOCK_PAGES, reader)?, page % BLOCK_PAGES))
    }

    /// The number of the page that starts at an address, if one does.
    #[inline(always)]
    pub(crate) fn page(&self, address: usize) -> Option<usize> {
        // One comparison refuses what is below the range, behind it, or inside a page: of that the lowest
        // bits become the highest.
        let page = address.wrapping_sub(self.range.start).rotate_right(PAGE_SHIFT);
        (page < self.pages).then_some(page)
    }

    /// Frees an area that owns its frames, whose first entry, which was `entry`, is claimed.
    pub(crate) fn finish_free(&self, address: usize, entry: Entry) {
        let Some(page) = self.page(address) else { unreachable!("{address:#x} is an area") };
        let block = self.block(page / BLOCK_PAGES);
        match block.role() {
            Role::Head { .. } => self.free_claimed_run(block.number(), true, entry),
            _ => {
                let leaf = self.small_leaf(block);
                let claimed = Claimed { block, first: page % BLOCK_PAGES, leaf, entry };
                self.free_any_claimed(self.platform.pin(), claimed);
            }
        }
    }

    /// Why what starts or does not start at `address` could not be freed or unmapped.
    #[cold]
    pub(crate) fn why_not(&self, address: usize, caller: &'static Location<'static>) -> FreeError {
        match self.find_area(address) {
            _ if !self.contains(address) => FreeError::OutsideRange { address, caller },
            Some(area) if area.start == address => FreeError::WrongKind { area, caller },
            Some(area) => FreeError::InsideArea { address, area, caller },
            None => FreeError::NotAllocated { address, caller },
        }
    }
}

/// Marks the ends of an area that is complete, the first page last: it makes the area known.
#[inline]
pub(crate) fn publish(first: &AtomicU64, last: &AtomicU64) {
    // Nobody else writes these entries: nobody knows the address, so no CPU marks one dirty, and they are marked
    // accessed.
    last.store(Entry(last.load(Ordering::Relaxed)).with_last().0, Ordering::Relaxed);
    first.store(Entry(first.load(Ordering::Relaxed)).with_first().0, Ordering::Release);
}

/// Marks the last page of an area that is known and may be in use: in one step, as CPUs, and `frame_at`, may mark
/// the entry dirty meanwhile.
#[inline]
pub(crate) fn mark_last(slot: &AtomicU64) {
    slot.fetch_or(Entry::LAST_MARK, Ordering::Release);
}

/// Takes the mark of the last page of an area away, as [`mark_last`] sets it.
#[inline]
pub(crate) fn unmark_last(slot: &AtomicU64) {
    slot.fetch_and(!Entry::LAST_MARK, Ordering::Release);
}

/// Unmaps the first page of an area that owns its frames, or that does not, if there is one, without a guard page
/// below, and no other CPU was faster: the entry before.
#[inline]
pub(crate) fn claim(slot: &AtomicU64, owned: bool) -> Option<Entry> {
    claim_if(slot, |entry| entry.is_start(owned))
}

/// As [`claim`], of an area that may have a guard page below.
pub(crate) fn claim_any(slot: &AtomicU64, owned: bool) -> Option<Entry> {
    claim_if(slot, |entry| entry.is_any_start(owned))
}

#[inline(always)]
fn claim_if(slot: &AtomicU64, is_it: impl Fn(Entry) -> bool) -> Option<Entry> {
    let mut entry = Entry(slot.load(Ordering::Acquire));
    // Again only if the entry was marked accessed or dirty meanwhile, once each.
    while is_it(entry) {
        let quarantined = entry.quarantined().unmarked().0;
        match slot.compare_exchange(entry.0, quarantined, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Some(entry),
            Err(now) => entry = Entry(now),
        }
    }
    None
}

/// Unmaps a page of an area that was claimed: the entry before. Nobody uses the area any more, so no CPU marks
/// the entry meanwhile.
#[inline]
pub(crate) fn unmap(slot: &AtomicU64) -> Entry {
    let entry = Entry(slot.load(Ordering::Relaxed));
    slot.store(entry.quarantined().0, Ordering::Relaxed);
    entry
}

/// Makes an entry that every CPU has flushed unused: the entry before.
#[inline]
pub(crate) fn clear(slot: &AtomicU64) -> Entry {
    let entry = Entry(slot.load(Ordering::Relaxed));
    slot.store(Entry::UNUSED.0, Ordering::Relaxed);
    entry
}
