//! Reading what may be freed at any time: for debuggers, dumps and `/dev/kmem`-like users.
//!
//! Nothing here dereferences an address of the range. Each page is read through the direct map, and
//! counts only if it is mapped to that frame afterwards, too: a frame may be somebody else's by then, but
//! what was read of it is thrown away. The direct map shows the frames that the instance took for its areas; of those
//! that callers had it map, [`Platform::is_ram`] tells which are shown.

use super::find::View;
use crate::{
    Frame, Kind, PAGE_SIZE, Platform, Vmalloc,
    blocks::{Mapping, Role},
    page_table::{entry::Entry, slot::Slot},
};
use core::sync::atomic::{Ordering, fence};

impl<P: Platform> Vmalloc<P> {
    /// Returns whether an address lies in the instance's range, mapped or not. It may be called in any context. A page
    /// fault handler that maps pages on demand asks this first, and maps nothing where it is true: see
    /// [the example](crate#in-a-page-fault-handler).
    #[doc(alias = "is_vmalloc_addr")]
    #[must_use]
    #[inline]
    pub fn contains(&self, address: usize) -> bool {
        self.base().span.range.contains(&address)
    }

    /// Returns the frame that is mapped at an address, [accessible](crate::Protection::None) or not; `None` if
    /// none is, or the address is not in the range. The page counts as written from now on, because the caller
    /// may write the frame through another mapping, or have a device do it. It may be called in any context.
    ///
    /// Use it instead of `translate` of the crate `x86_64`, which takes every entry but zero for one that is
    /// mapped: freed pages and guard pages have entries that are neither present nor zero.
    #[doc(alias = "vmalloc_to_pfn")]
    #[doc(alias = "vmalloc_to_page")]
    #[must_use]
    pub fn frame_at(&self, address: usize) -> Option<Frame> {
        let blocks = self.blocks();
        blocks.read_side(|side| {
            // Ends: an entry that changed meanwhile was marked, protected, freed, or its 2 MiB page was split.
            loop {
                let (slot, entry, frame) = View { blocks, side }.slot_at(address)?;
                let is_marked = !(entry.shown().is_owned() && entry.is_known_zero());
                if is_marked || slot.replace(entry, entry.with_dirty()).is_ok() {
                    return Some(frame);
                }
            }
        })
    }

    /// Returns the frames of the area that `address` lies in, in page order, for callers that give their
    /// physical addresses to a device; `None` if it lies in no area. Pages of a [congruent](Kind::Congruent)
    /// area that have no frame are left out. Each page is looked up when the iterator comes to it, as by
    /// [`frame_at`](Self::frame_at), and counts as written from then on. It may be called in any context.
    #[doc(alias = "sg_alloc_table_from_pages")]
    pub fn area_frames(&self, address: usize) -> Option<impl Iterator<Item = Frame>> {
        let area = self.find_area(address)?;
        let pages = (area.start..area.mapped_end()).step_by(PAGE_SIZE);
        Some(pages.filter_map(|page| self.frame_at(page)))
    }

    /// Reads memory from `address` into `buffer` without faulting, and returns how many of the bytes
    /// were mapped. Everything else reads as zeros: holes, guard pages, pages that [nobody may
    /// access](crate::Protection::None), what is freed meanwhile, what is outside of the range, and
    /// registers and memory of devices, which it does not touch, whichever call mapped them. It may
    /// be called in any context.
    #[doc(alias = "vread_iter")]
    pub fn vread(&self, address: usize, buffer: &mut [u8]) -> usize {
        let blocks = self.blocks();
        let (mut at, mut rest, mut mapped) = (address, buffer, 0);
        while !rest.is_empty() {
            let in_page = (PAGE_SIZE - at % PAGE_SIZE).min(rest.len());
            let (now, later) = rest.split_at_mut(in_page);
            if blocks.read_side(|side| View { blocks, side }.read_page(at, now)).is_some() {
                mapped += in_page;
            } else {
                now.fill(0);
            }
            rest = later;
            at = at.wrapping_add(in_page);
        }
        mapped
    }
}

impl<'a, P: Platform> View<'a, P> {
    /// Finds the entry that maps an address, or would if the page were not [hidden](Entry::hidden): returns its slot, the
    /// entry, and the frame of the address.
    fn slot_at(&self, address: usize) -> Option<(&'a Slot, Entry, Frame)> {
        let (number, page) = self.blocks.span().place(address)?;
        let block = self.block(number)?;
        if matches!(block.role(), Role::Unused | Role::Freed { .. } | Role::Cached { .. }) {
            return None;
        }
        let (slot, entry, small) = match self.blocks.mapping(block)? {
            Mapping::Small(leaf) | Mapping::Unflushed(leaf, _) => {
                let entry = leaf[page].look();
                (&leaf[page], entry, entry.shown())
            }
            Mapping::Huge(slot, entry) if entry.is_present() => (slot, entry, entry.small_page(page)),
            Mapping::Huge(..) => return None,
        };
        small.is_present().then(|| (slot, entry, small.frame()))
    }

    /// Reads bytes of one page; `None` if it is not mapped, or was unmapped meanwhile, or is not to be read.
    fn read_page(&self, address: usize, buffer: &mut [u8]) -> Option<()> {
        let (_, entry, frame) = self.slot_at(address)?;
        let platform = self.blocks.platform();
        if !entry.is_present() {
            return None;
        }
        if self.area_at(address)?.kind == Kind::Ioremap || !entry.is_owned() && !platform.is_ram(frame) {
            return None;
        }
        let bytes = platform.direct_map(frame).as_ptr().wrapping_add(address % PAGE_SIZE);
        for (offset, byte) in buffer.iter_mut().enumerate() {
            // SAFETY: promises 2 and 8 of `Platform`: the direct map shows for ever what was taken for areas, and
            // what is memory; the offset stays inside the frame. Others may write meanwhile: each byte is read
            // once, as it is.
            *byte = unsafe { bytes.add(offset).read_volatile() };
        }
        // The bytes were read before the entry is read again. The page may have been marked, protected or
        // split meanwhile, or freed and mapped to the same frame again: that is nobody else's before a flush, and none is over
        // before this section.
        fence(Ordering::Acquire);
        self.slot_at(address).filter(|&(.., now)| now == frame).map(drop)
    }
}
