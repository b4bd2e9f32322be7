//! One call: made on the replay's own instance, and counted.
//!
//! Workers make calls one at a time (see `workers`), so that what one leaves in a slot is there for the next, whatever CPU
//! that runs on: the turn that they hand on orders all of it.

use super::counts::{Kind, Kinds};
use crate::{
    arch::tsc,
    services::{Experiment, Frames},
};
use alloc::{collections::TryReserveError, vec::Vec};
use core::{
    num::NonZeroUsize,
    ptr::NonNull,
    sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
use protocol::replay::{Action, Call};
use vmalloc::{AllocError, PAGE_SIZE, Protection, Request};

/// Where areas are left that are alive.
pub(super) struct Calls {
    pub instance: Experiment,
    frames: Frames,
    slots: Vec<Slot>,
    pages: AtomicU64,
    pub peak_pages: AtomicU64,
    pub peak_lazy: AtomicI64,
}

/// An area, by its address; what it is in the bits of its alignment, which are no part of that.
#[derive(Default)]
struct Slot {
    area: AtomicUsize,
    pages: AtomicU32,
}

/// Nothing is in the slot.
const EMPTY: usize = 0;
const VMALLOC: usize = 1;
const VMAP: usize = 2;
const RAM: usize = 3;
/// Bits of what an area is.
const WHAT: usize = PAGE_SIZE - 1;

impl Calls {
    pub fn new(instance: Experiment, frames: Frames, slots: usize) -> Result<Self, TryReserveError> {
        let mut list = Vec::new();
        list.try_reserve_exact(slots)?;
        list.resize_with(slots, Slot::default);
        let (peak_pages, peak_lazy) = (AtomicU64::new(0), AtomicI64::new(0));
        Ok(Self { instance, frames, slots: list, pages: AtomicU64::new(0), peak_pages, peak_lazy })
    }

    /// Makes a call and counts it. `Err`: the program is wrong, as said.
    pub fn make(&self, call: &Call, kinds: &mut Kinds) -> Result<(), &'static str> {
        let kind = kinds.of(call.action);
        match call.action {
            Action::Vmalloc { size, align } => {
                let request = Request::new(size as usize).align(1 << align);
                let pages = size.div_ceil(PAGE_SIZE as u64);
                self.fill(call, VMALLOC, pages, kind, || self.instance.allocate(request))
            }
            Action::Vmap { pages } => self.fill(call, VMAP, pages.into(), kind, || {
                self.instance.vmap(&self.frames[..pages as usize], Protection::ReadWrite)
            }),
            Action::VmMapRam { pages } => self.fill(call, RAM, pages.into(), kind, || {
                self.instance.vm_map_ram(&self.frames[..pages as usize], Protection::ReadWrite)
            }),
            Action::Vfree => self.empty(call, VMALLOC, kind),
            Action::Vunmap => self.empty(call, VMAP, kind),
            Action::VmUnmapRam => self.empty(call, RAM, kind),
            Action::VmUnmapAliases => {
                let start = tsc::now();
                self.instance.vm_unmap_aliases();
                kind.cycles += tsc::since(start);
                kind.calls += 1;
                Ok(())
            }
        }
    }

    fn fill(
        &self,
        call: &Call,
        what: usize,
        pages: u64,
        kind: &mut Kind,
        make: impl FnOnce() -> Result<NonNull<u8>, AllocError>,
    ) -> Result<(), &'static str> {
        let slot = &self.slots[call.slot as usize];
        if slot.area.load(Ordering::Relaxed) != EMPTY {
            return Err("its slot has an area already");
        }
        let start = tsc::now();
        let made = make();
        kind.cycles += tsc::since(start);
        kind.calls += 1;
        // A refused one leaves no more than what it was to be, for the free that comes.
        let address = made.map_or(0, |area| area.as_ptr() as usize);
        slot.area.store(address | what, Ordering::Relaxed);
        if let Ok(area) = made {
            // SAFETY: the area is this replay's, or maps frames of its own.
            unsafe { area.write_volatile(1) };
            kind.pages += pages;
            slot.pages.store(pages as u32, Ordering::Relaxed);
            let alive = self.pages.fetch_add(pages + 1, Ordering::Relaxed) + pages + 1;
            self.peak_pages.fetch_max(alive, Ordering::Relaxed);
        } else {
            kind.failed += 1;
        }
        Ok(())
    }

    fn empty(&self, call: &Call, what: usize, kind: &mut Kind) -> Result<(), &'static str> {
        let slot = &self.slots[call.slot as usize];
        let area = slot.area.load(Ordering::Relaxed);
        if area & WHAT != what {
            return Err("its slot has no area of that kind");
        }
        slot.area.store(EMPTY, Ordering::Relaxed);
        let Some(address) = NonZeroUsize::new(area & !WHAT) else { return Ok(()) };
        let pages = slot.pages.load(Ordering::Relaxed) as usize;
        self.pages.fetch_sub(pages as u64 + 1, Ordering::Relaxed);
        let address = NonNull::<u8>::without_provenance(address);
        let start = tsc::now();
        // SAFETY: the area was made for this slot, and nobody uses it.
        let freed = unsafe {
            match what {
                VMALLOC => self.instance.vfree(address),
                VMAP => self.instance.vunmap(address),
                _ => self.instance.vm_unmap_ram(address, pages),
            }
        };
        kind.cycles += tsc::since(start);
        if let Err(error) = freed {
            panic!("what was made cannot be freed: {error}");
        }
        kind.calls += 1;
        kind.pages += pages as u64;
        self.peak_lazy.fetch_max(self.instance.lazy_pages(), Ordering::Relaxed);
        Ok(())
    }

    /// Frees all that is alive, uncounted.
    pub fn free_all(&self) {
        for (slot, number) in self.slots.iter().zip(0..) {
            let action = match slot.area.load(Ordering::Relaxed) & WHAT {
                EMPTY => continue,
                VMALLOC => Action::Vfree,
                VMAP => Action::Vunmap,
                _ => Action::VmUnmapRam,
            };
            let call = Call { action, slot: number, cpu: 0, time: 0 };
            let Ok(()) = self.make(&call, &mut Kinds::default()) else { unreachable!("the slot is full") };
        }
    }
}

/// A replay may end before its program does.
impl Drop for Calls {
    fn drop(&mut self) {
        self.free_all();
    }
}

/// Cycles that two looks at the counter take with nothing between them.
pub(super) fn cycles_of_nothing() -> u64 {
    let look = || {
        let start = tsc::now();
        tsc::since(start)
    };
    (0..64).map(|_| look()).min().unwrap_or(0)
}
