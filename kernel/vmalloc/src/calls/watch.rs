//! What is remembered of frees, and what lies behind the bytes that were asked for.

use crate::{
    AreaInfo, Kind, Overrun, PAGE_SIZE, Platform, Vmalloc, Whatis,
    page_table::{Entry, slot::Slot},
    pending::Pressure,
    types::{Caller, Owner, tunables::Mode},
};
use core::slice;

/// What fills the bytes of an area's last page behind those that were asked for. No valid text, and no address.
const SLACK: u8 = 0xa5;

impl<P: Platform> Vmalloc<P> {
    /// From now on remembers the last `count` frees, rounded up to whole frames of 64, at most 32768; none if
    /// it is 0. What was remembered before is forgotten. [`whatis`](Self::whatis) and refused frees then say
    /// who freed what was at an address. While frees are remembered, they take a slow path, and nothing is
    /// reused before a flush. Resizing an area does not count as a free.
    ///
    /// Returns `false` if frames are too few (then none are remembered), or another thread is changing this.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[doc(alias = "page_owner")]
    pub fn set_remembered(&self, count: usize) -> bool {
        self.base().assert_not_in_interrupt("set_remembered");
        let switch = |on| self.reclaim().bar_magazines(Mode::Remember, on);
        self.base().remembered.set(self.platform(), count, switch)
    }

    /// Returns how many frees are remembered at most.
    pub fn remembered(&self) -> usize {
        self.base().remembered.capacity()
    }

    /// Turns the checking of slack on or off. While it is on, the bytes past those requested, in the last page
    /// of each area that owns its frames, are filled when it is made, and changes found there when it is freed
    /// are reported to [`Platform::report_overrun`]. Allocations and frees take slow paths, and nothing is
    /// reused before a flush. Areas that were made before, or resized while it was off, are not checked. Builds
    /// with debug assertions begin with it on, unless the policy says [otherwise](crate::Policy::slack).
    ///
    /// # Panics
    /// In an interrupt handler.
    #[doc(alias = "slub_debug")]
    pub fn set_check_slack(&self, on: bool) {
        self.base().assert_not_in_interrupt("set_check_slack");
        self.reclaim().bar_magazines(Mode::CheckSlack, on);
    }

    /// Returns whether [`set_check_slack`](Self::set_check_slack) is on.
    pub fn checks_slack(&self) -> bool {
        self.base().tunables.modes.has(Mode::CheckSlack)
    }

    /// From now on makes freed pages wait until at least `pages` other pages of address space were freed; 0 ends
    /// that. A pointer into freed memory then faults for a while, or hits what nobody owns. [`vfree`](Self::vfree)
    /// makes the current CPU forget the area at once, so a use there faults; others forget it with the next purge.
    ///
    /// While this is on, up to twice as many pages lie idle with their frames, besides what is freed from one
    /// purge to the next; each purge flushes everything, and frees take a slow path. Where an allocation would
    /// otherwise fail, and in [`trim`](Self::trim) and [`shrink`](Self::shrink), all pages stop waiting.
    ///
    /// # Panics
    /// In an interrupt handler.
    #[doc(alias = "kasan")]
    pub fn set_quarantine(&self, pages: usize) {
        self.base().assert_not_in_interrupt("set_quarantine");
        self.reclaim().set_quarantine(pages);
    }

    /// Returns how many other pages are freed before a page is used again, as set by
    /// [`set_quarantine`](Self::set_quarantine).
    pub fn quarantine(&self) -> usize {
        self.reclaim().quarantine()
    }

    /// Frees the area of `owner`'s frames that starts at `address` by `free`; and tells the machine, remembers it, and looks
    /// behind it, if that is wanted.
    pub(super) fn remembering(
        &self,
        address: usize,
        owner: Owner,
        caller: Caller,
        free: impl FnOnce() -> Option<Pressure>,
    ) -> Option<Pressure> {
        if self.base().is_watched() { self.free_watched(address, owner, caller, free) } else { free() }
    }

    #[cold]
    #[inline(never)]
    fn free_watched(
        &self,
        address: usize,
        owner: Owner,
        caller: Caller,
        free: impl FnOnce() -> Option<Pressure>,
    ) -> Option<Pressure> {
        let is_meant = |area: &AreaInfo| area.start == address && area.kind.owner() == owner;
        let area = self.find_area(address).filter(is_meant);
        if let Some(AreaInfo { start, pages, kind, .. }) = area {
            // Before anybody else can have the address.
            self.areas_room().trace_free(start, pages, kind, caller);
        }
        if let Some(overrun) = area.and_then(|area| self.find_overrun(&area, caller)) {
            self.platform().report_overrun(&overrun);
        }
        let freed = free()?;
        if let Some(area) = area {
            self.forget_here(&area);
            self.base().remembered.remember(self.platform(), &area, caller);
        }
        Some(freed)
    }

    /// Makes this CPU forget an area that was just freed, if it is to be in quarantine.
    fn forget_here(&self, area: &AreaInfo) {
        if self.quarantine() == 0 {
            return;
        }
        let (platform, ceiling) = (self.platform(), self.base().flush_ceiling());
        let _pin = platform.pin();
        if area.pages > ceiling {
            platform.flush_all();
        } else {
            (0..area.pages).for_each(|page| platform.flush_page(area.start + page * PAGE_SIZE));
        }
    }

    /// Fills what lies behind the bytes that were asked for of an area that was just made, if that is wanted.
    pub(super) fn fill_slack(&self, address: usize) {
        if !self.checks_slack() {
            return;
        }
        let Some(area) = self.find_area(address) else { return };
        let filled = self.with_slack(&area, |slack| slack.fill(SLACK));
        if filled.is_some() {
            // A wrong free may have made the page another's by now.
            self.with_guard(&area, |slot, guard| slot.replace(guard, guard.with_filled_slack()).is_ok());
        }
    }

    /// Returns what was written behind the bytes that were asked for of an area, if anything was.
    fn find_overrun(&self, area: &AreaInfo, freed_by: Caller) -> Option<Overrun> {
        if !self.with_guard(area, |_, guard| guard.has_filled_slack())? {
            return None;
        }
        self.with_slack(area, |slack| {
            let changed = |(_, byte): &(usize, &mut u8)| **byte != SLACK;
            let (offset, found) =
                slack.iter_mut().enumerate().find(changed).map(|(at, byte)| (area.requested + at, *byte))?;
            let bytes = slack.iter().filter(|&&byte| byte != SLACK).count();
            Some(Overrun { area: *area, offset, bytes, found, freed_by })
        })?
    }

    /// Calls `look` with what lies behind the bytes that were asked for, in the last page of an area that owns its frames.
    fn with_slack<T>(&self, area: &AreaInfo, look: impl FnOnce(&mut [u8]) -> T) -> Option<T> {
        let slack = area.pages * PAGE_SIZE - area.requested;
        if area.kind != Kind::Vmalloc || !(1..PAGE_SIZE).contains(&slack) {
            return None;
        }
        let frame = self.frame_at(area.mapped_end() - 1)?;
        let page = self.platform().direct_map(frame);
        // SAFETY: promise 2 of `Platform`. The frame is the area's, whose owner has nothing behind what was asked for: who
        // writes there all the same is who is looked for.
        let slack = unsafe { slice::from_raw_parts_mut(page.byte_add(PAGE_SIZE - slack).as_ptr(), slack) };
        Some(look(slack))
    }

    /// Calls `look` with the guard page's entry behind an area, where it is and what it is.
    fn with_guard<T>(&self, area: &AreaInfo, look: impl FnOnce(&Slot, Entry) -> T) -> Option<T> {
        let blocks = self.blocks();
        let pin = self.platform().pin();
        let (block, page) = blocks.place(area.mapped_end(), &pin)?;
        let slot = &block.leaf(self.platform())?[page];
        let guard = Some(slot.get()).filter(|entry| entry.is_guard())?;
        Some(look(slot, guard))
    }

    /// Says what is at an address, and what was there if frees are [remembered](Self::set_remembered). It may be called
    /// in any context, as by a page fault handler: [the front page](crate#in-a-page-fault-handler) has an example.
    pub fn whatis(&self, address: usize) -> Whatis {
        let was = self.base().remembered.find(self.platform(), address);
        Whatis { was, ..self.look_at(address) }
    }
}
