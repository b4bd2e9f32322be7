//! Frees in interrupt handlers: noted without a lock, done by the next purge.
//!
//! The interrupted code may hold any of the locks. The handler claims the area by its first entry, as
//! every free does, so that freeing it twice is refused at once; then it puts the area into a list of
//! its CPU. The links are in the areas' first words, written by the direct map: the area may be read-only.

use crate::{
    Vmalloc,
    area::claim,
    block::Role,
    entry::Entry,
    platform::{CpuPin, Platform},
};
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The first area of a CPU's list; 0 for none.
pub(crate) struct Deferred(AtomicUsize);

impl Deferred {
    pub const fn new() -> Self {
        Self(AtomicUsize::new(0))
    }

    pub fn is_empty(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl<P: Platform> Vmalloc<P> {
    /// Claims the area that starts at `address`, which owns its frames, and notes it; `false`: there is none.
    #[cold]
    pub(crate) fn defer_free(&self, address: usize) -> bool {
        let claimed = self.first_slot(address).and_then(|slot| Some((slot, claim(slot, true)?)));
        let Some((slot, entry)) = claimed else { return false };
        // The link is written by another mapping than this one.
        slot.store(entry.with_dirty().quarantined().0, Ordering::Relaxed);
        let list = &self.lazy[self.platform.pin().cpu()].deferred.0;
        let mut first = list.load(Ordering::Relaxed);
        loop {
            self.link(entry).store(first as u64, Ordering::Relaxed);
            // Release: who takes the list sees the links.
            match list.compare_exchange_weak(first, address, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        self.platform.wake_purger();
        true
    }

    /// Frees what interrupt handlers noted, on all CPUs.
    pub(crate) fn free_deferred(&self) {
        for list in self.lazy.iter().map(|lazy| &lazy.deferred).filter(|list| !list.is_empty()) {
            let mut next = list.0.swap(0, Ordering::Acquire);
            while next != 0 {
                let address = next;
                let Some(slot) = self.first_slot(address) else { unreachable!("{address:#x} is an area") };
                let entry = Entry(slot.load(Ordering::Relaxed)).mapped();
                next = self.link(entry).load(Ordering::Relaxed) as usize;
                self.finish_free(address, entry);
            }
        }
    }

    /// The first word of the frame of an entry.
    fn link(&self, entry: Entry) -> &AtomicU64 {
        // SAFETY: promise 2 of `Platform`: the frame is there; it belongs to an area that was freed
        // and that only this module knows, so nobody else uses it.
        unsafe { self.platform.direct_map(entry.frame()).cast::<AtomicU64>().as_ref() }
    }

    /// The entry of the page at `address`, if an area may start there.
    fn first_slot(&self, address: usize) -> Option<&AtomicU64> {
        let pin = self.platform.pin();
        let (block, page) = self.place(address, &pin)?;
        match block.role() {
            Role::Small { .. } => block.leaf(&self.platform).map(|leaf| &leaf[page]),
            Role::Head { .. } if page == 0 => self.run_start(block),
            _ => None,
        }
    }
}
