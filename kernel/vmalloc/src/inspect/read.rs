//! Reading what may vanish at any time: for debuggers, dumps and `/dev/kmem`-like users.
//!
//! Nothing here dereferences an address of the range. Each page is read through the direct map, and
//! counts only if it has the same frame afterwards; frames may be somebody else's by then, but
//! what was read of them is thrown away. The direct map shows what the instance took for its areas; of what
//! others had it map, the machine says what is shown.

use crate::{
    Vmalloc,
    blocks::block::Role,
    blocks::split::Mapping,
    inspect::find::Look,
    page_table::entry::{Entry, Kind},
    platform::{BLOCK_PAGES, BLOCK_SHIFT, Frame, PAGE_SHIFT, PAGE_SIZE, Platform},
};
use core::sync::atomic::{AtomicU64, Ordering, fence};

impl<P: Platform> Vmalloc<P> {
    /// Whether the address lies in the instance's range, mapped or not.
    #[must_use]
    #[inline]
    pub fn contains(&self, address: usize) -> bool {
        self.range.contains(&address)
    }

    /// The frame mapped at an address of the range; `None` if nothing is mapped there. May be called anywhere.
    #[must_use]
    pub fn frame_at(&self, address: usize) -> Option<Frame> {
        self.look(|look| self.frame_there(address, look))
    }

    fn frame_there(&self, address: usize, look: &Look) -> Option<Frame> {
        // Who knows the frame may write it by another mapping: it does not count as never written. Ends: an entry
        // that changed meanwhile was marked, protected, freed, or its 2 MiB page was split.
        loop {
            let (slot, entry, frame) = self.slot_at(address, look)?;
            let is_marked = !(entry.is_owned() && entry.is_known_zero());
            let mark =
                || slot.compare_exchange(entry.0, entry.with_dirty().0, Ordering::AcqRel, Ordering::Relaxed);
            if is_marked || mark().is_ok() {
                return Some(frame);
            }
        }
    }

    /// The present entry that maps an address, where it is, and the frame that it maps there.
    fn slot_at(&self, address: usize, look: &Look) -> Option<(&AtomicU64, Entry, Frame)> {
        if !self.contains(address) {
            return None;
        }
        let page = address >> PAGE_SHIFT & (BLOCK_PAGES - 1);
        let number = (address - self.range.start) >> BLOCK_SHIFT;
        let block = self.table.get(number, look)?;
        if matches!(block.role(), Role::Unused | Role::Freed { .. } | Role::Kept { .. }) {
            return None;
        }
        match self.mapping(block)? {
            Mapping::Small(leaf) | Mapping::Unflushed(leaf, _) => {
                let entry = Entry(leaf[page].load(Ordering::Acquire));
                entry.is_present().then(|| (&leaf[page], entry, entry.frame()))
            }
            Mapping::Huge(slot, entry) => {
                let frame = || Frame::new(entry.frame().number() + page as u64);
                entry.is_present().then(|| (slot, entry, frame()))
            }
        }
    }

    /// Reads memory from `address` on into `buffer`, and returns how many bytes of it were mapped.
    /// Everything else reads as zeros: holes, guard pages, what is freed meanwhile, what is outside
    /// of the range, and registers and memory of devices, which it does not touch, whichever call mapped them.
    /// May be called anywhere.
    pub fn vread(&self, address: usize, buffer: &mut [u8]) -> usize {
        let (mut at, mut rest, mut mapped) = (address, buffer, 0);
        while !rest.is_empty() {
            let in_page = (PAGE_SIZE - at % PAGE_SIZE).min(rest.len());
            let (now, later) = rest.split_at_mut(in_page);
            if self.look(|look| self.read_page(at, now, look).then_some(())).is_some() {
                mapped += in_page;
            } else {
                now.fill(0);
            }
            rest = later;
            at = at.wrapping_add(in_page);
        }
        mapped
    }

    /// Reads bytes of one page; `false` if it is not, or did not stay, mapped.
    fn read_page(&self, address: usize, buffer: &mut [u8], look: &Look) -> bool {
        let Some((_, entry, frame)) = self.slot_at(address, look) else { return false };
        if self.area_at(address, look).is_none_or(|area| area.kind == Kind::Ioremap) {
            return false;
        }
        if !entry.is_owned() && !self.platform.is_ram(frame) {
            return false;
        }
        let bytes = self.platform.direct_map(frame).as_ptr().wrapping_add(address % PAGE_SIZE);
        for (offset, byte) in buffer.iter_mut().enumerate() {
            // SAFETY: promises 2 and 8 of `Platform`: the direct map shows for ever what was taken for areas, and
            // what is memory; the offset stays inside the frame. Others may write meanwhile: each byte is read
            // once, as it is.
            *byte = unsafe { bytes.add(offset).read_volatile() };
        }
        // The bytes were read before the entry is looked at again. The page may have been marked, protected or
        // split meanwhile. It was not freed and mapped anew to the same frame: no flush is over before this look.
        fence(Ordering::Acquire);
        self.slot_at(address, look).is_some_and(|(.., now)| now == frame)
    }
}
