//! The page fault handler of a kernel that maps a page wherever one is missing, whoever's the address is.

use super::{
    Machine,
    entry::{ACCESSED, DIRTY, PRESENT, WRITABLE, frame},
};
use crate::{Frame, PAGE_SHIFT};
use core::sync::atomic::Ordering;

impl Machine {
    /// Maps a frame at an address, and makes the tables that are missing, as mappers do that know nothing of the library:
    /// only an entry of zero is free. Returns whether it was.
    pub(crate) fn map_missing(&self, address: usize) -> bool {
        let mut table = self.root;
        for shift in [39, 30, 21] {
            let slot = &self.table(table)[address >> shift & 511];
            if slot.load(Ordering::Acquire) & PRESENT == 0 {
                let below = self.take().expect("frames enough");
                // SAFETY: the frame is inside `memory`, and was free.
                unsafe { self.bytes(below).write_bytes(0, crate::PAGE_SIZE) };
                slot.store(below.address() | PRESENT | WRITABLE | ACCESSED, Ordering::Release);
            }
            table = Frame::new(frame(slot.load(Ordering::Acquire)));
        }
        let slot = &self.table(table)[address >> PAGE_SHIFT & 511];
        let entry = || self.take().expect("frames enough").address() | PRESENT | WRITABLE | ACCESSED | DIRTY;
        slot.load(Ordering::Acquire) == 0 && {
            slot.store(entry(), Ordering::Release);
            true
        }
    }
}
