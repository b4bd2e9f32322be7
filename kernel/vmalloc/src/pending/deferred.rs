//! Frees in interrupt handlers: noted without a lock, done by the next purge.
//!
//! The interrupted code may hold any of the locks. The handler claims the area by its first entry, as every
//! free does, so that freeing it twice is refused at once; then it puts the area into a list of its CPU. The
//! links are in the areas' first words, written through the direct map: the area may be read-only.
//!
//! Noted pages count as pending. The CPU's next free checks the limit; frees on other CPUs check it when they next add
//! their share to the sum.

use super::Pending;
use crate::{
    BLOCK_PAGES, CpuPin, Owner, Platform,
    atomic::framed::{AtomicUsize, Ordering},
    blocks::Role,
    page_table::entry::Entry,
};

/// What a noted area has in its first words.
#[repr(C)]
struct Link {
    /// The next one of the list; 0: none.
    next: AtomicUsize,
    /// The pages of address space that the area has.
    pages: AtomicUsize,
}

impl<P: Platform> Pending<P> {
    /// Claims the area that starts at `address`, which owns its frames, and notes it. `false`: there is none;
    /// the caller reports a wrong address then.
    #[cold]
    pub fn defer_free(&self, address: usize) -> bool {
        let Some(entry) = self.blocks.claim(address, Owner::Area) else { return false };
        let pin = self.blocks.platform().pin();
        // The link is written by another mapping than this one.
        self.blocks.area_start(address, &pin).set(entry.with_dirty().quarantined());
        let pages = self.claimed_pages(address, entry, &pin);
        let cpu = self.cpus.of(pin.cpu());
        let link = self.link(entry);
        link.pages.store(pages, Ordering::Relaxed);
        // Before the area is in the list: who takes it counts it no more.
        self.deferred_pages.fetch_add(pages, Ordering::Relaxed);
        // Release: who takes the list sees the links, and what was counted.
        _ = cpu.deferred.fetch_update(Ordering::Release, Ordering::Relaxed, |first| {
            link.next.store(first, Ordering::Relaxed);
            Some(address)
        });
        cpu.share.hint();
        self.blocks.platform().wake_purger();
        true
    }

    /// Takes what interrupt handlers noted, on all CPUs, and calls `free` with the address of each area and what its
    /// first entry was. It waits no more when `free` is called.
    pub fn take_deferred(&self, mut free: impl FnMut(usize, Entry)) {
        for cpu in self.cpus.iter().filter(|cpu| cpu.has_deferred()) {
            let mut next = cpu.deferred.swap(0, Ordering::Acquire);
            while next != 0 {
                let address = next;
                let pin = self.blocks.platform().pin();
                let entry = self.blocks.area_start(address, &pin).get().mapped();
                drop(pin);
                let link = self.link(entry);
                next = link.next.load(Ordering::Relaxed);
                self.deferred_pages.fetch_sub(link.pages.load(Ordering::Relaxed), Ordering::Relaxed);
                free(address, entry);
            }
        }
    }

    /// The first words of the frame of an entry.
    fn link(&self, entry: Entry) -> &Link {
        // SAFETY: promise 2 of `Platform`: the frame is there; it belongs to an area that was freed
        // and that only this module knows, so nobody else uses it. Any bit patterns are numbers.
        unsafe { self.blocks.platform().direct_map(entry.frame()).cast::<Link>().as_ref() }
    }

    /// Pages that an area will be counted as when it is freed; its first entry, which was `entry`, is claimed.
    fn claimed_pages(&self, address: usize, entry: Entry, pin: &P::Pin) -> usize {
        let (block, page) = self.blocks.area_place(address, pin);
        let below = usize::from(entry.has_guard_below());
        if let Role::Head { blocks, .. } = block.role() {
            return (below + blocks as usize) * BLOCK_PAGES;
        }
        let mut rest = self.blocks.leaf(block)[page + 1..].iter();
        let more = if entry.is_last() { None } else { rest.position(|slot| slot.get().shown().is_last()) };
        below + more.map_or(0, |last| last + 1) + 2
    }
}
