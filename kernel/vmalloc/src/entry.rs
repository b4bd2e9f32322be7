//! Page table entries of the instance's range, and what they carry besides translations.
//!
//! ```text
//!  63  62 61        17 16  13 12      1  0
//! ┌──┬───┬────────────┬──────┬─────────┬───┐
//! │  │ 1 │ caller / 8 │ kind │  slack  │ 0 │  guard: never present, tells whose area ends here
//! └──┴───┴────────────┴──────┴─────────┴───┘
//! ┌──┬─────┬──────────────────┬─┬─┬─┬────┬───┐
//! │NX│  0  │ frame (51..12)   │O│L│F│    │ 1 │  mapped; F first, L last page of an area, O owned frame
//! └──┴─────┴──────────────────┴─┴─┴─┴────┴───┘
//! ┌──┬─────┬──────────────────┬─┬─┬─┬────┬───┐
//! │NX│  0  │ frame, inverted  │O│L│F│    │ 0 │  quarantined: unmapped, the frame not yet given back
//! └──┴─────┴──────────────────┴─┴─┴─┴────┴───┘
//! ```
//! A zero entry is unused. A quarantined entry keeps its frame out of everybody's hands until each
//! CPU has flushed; the frame number is inverted so that a CPU with the L1TF flaw, which speculates
//! through entries that are not present, finds no memory there.

use crate::platform::{Frame, PAGE_SIZE};
use core::panic::Location;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const HUGE: u64 = 1 << 7;
const FIRST: u64 = 1 << 9;
const LAST: u64 = 1 << 10;
const OWNED: u64 = 1 << 11;
const NO_EXECUTE: u64 = 1 << 63;
const FRAME_MASK: u64 = 0x000f_ffff_ffff_f000;

const GUARD: u64 = 1 << 62;
const SLACK_SHIFT: u32 = 1;
const SLACK_MASK: u64 = PAGE_SIZE as u64 - 1;
const KIND_SHIFT: u32 = 13;
const KIND_MASK: u64 = 0xf;
const CALLER_SHIFT: u32 = 17;
const CALLER_MASK: u64 = (1 << 45) - 1;

/// Which call made an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Memory of its own, from `vmalloc` and its relatives.
    Vmalloc = 1,
}

impl Kind {
    fn from_bits(bits: u64) -> Option<Self> {
        (bits == Self::Vmalloc as u64).then_some(Self::Vmalloc)
    }

    /// The field's word for it, as `vmallocinfo` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vmalloc => "vmalloc",
        }
    }
}

/// The value of one page table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Entry(pub u64);

/// What the entry behind an area's last page tells of the area.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardInfo {
    /// Bytes of the last page that were not asked for.
    pub slack: usize,
    pub kind: Kind,
    pub caller: &'static Location<'static>,
}

impl Entry {
    pub const UNUSED: Self = Self(0);

    /// All of an owned, writable mapping but the frame and the place in its area.
    const OWNED_DATA: u64 = PRESENT | WRITABLE | ACCESSED | DIRTY | OWNED | NO_EXECUTE;

    /// A page of memory that the area owns: readable, writable, never executable, not global.
    #[inline]
    pub fn owned(frame: Frame) -> Self {
        Self(frame.address() | Self::OWNED_DATA)
    }

    /// The same for a 2 MiB frame, at the level above the leaf tables.
    #[inline]
    pub fn owned_huge(first: Frame) -> Self {
        Self(first.address() | Self::OWNED_DATA | HUGE)
    }

    /// The entry of a directory that links a table below it. Leaf entries alone limit access.
    pub fn table(frame: Frame) -> Self {
        Self(frame.address() | PRESENT | WRITABLE | ACCESSED)
    }

    #[inline]
    pub fn first_if(self, first: bool) -> Self {
        Self(self.0 | if first { FIRST } else { 0 })
    }

    #[inline]
    pub fn last_if(self, last: bool) -> Self {
        Self(self.0 | if last { LAST } else { 0 })
    }

    #[inline]
    pub fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    pub fn is_unused(self) -> bool {
        self.0 == 0
    }

    pub fn is_guard(self) -> bool {
        self.0 & (PRESENT | GUARD) == GUARD
    }

    pub fn is_first(self) -> bool {
        self.0 & (PRESENT | FIRST) == PRESENT | FIRST
    }

    #[inline]
    pub fn is_last(self) -> bool {
        self.0 & (PRESENT | LAST) == PRESENT | LAST
    }

    /// The frame of a present entry, table or page.
    #[inline]
    pub fn frame(self) -> Frame {
        debug_assert!(self.is_present());
        Frame::new((self.0 & FRAME_MASK) >> 12)
    }

    /// Unmaps: no CPU can load the translation any more, but those that have keep it until flushed.
    #[inline]
    pub fn quarantined(self) -> Self {
        debug_assert!(self.is_present());
        Self(self.0 ^ (FRAME_MASK | PRESENT))
    }

    /// The frame that waits in a quarantined entry. Asking is only right after a flush.
    #[inline]
    pub fn quarantined_frame(self) -> Option<Frame> {
        (self.0 & (PRESENT | GUARD | OWNED) == OWNED).then(|| Frame::new((!self.0 & FRAME_MASK) >> 12))
    }

    pub fn guard(info: GuardInfo) -> Self {
        debug_assert!(info.slack < PAGE_SIZE);
        let caller = core::ptr::from_ref(info.caller) as u64;
        debug_assert!(caller.is_multiple_of(8), "the entry has no room for the lowest bits");
        Self(
            GUARD
                | (info.slack as u64) << SLACK_SHIFT
                | (info.kind as u64) << KIND_SHIFT
                | (caller >> 3 & CALLER_MASK) << CALLER_SHIFT,
        )
    }

    pub fn guard_info(self) -> Option<GuardInfo> {
        if !self.is_guard() {
            return None;
        }
        // The address is canonical: bit 47 fills the bits above it.
        let caller = ((self.0 >> CALLER_SHIFT & CALLER_MASK) << 19).cast_signed() >> 16;
        let caller = caller as usize as *const Location<'static>;
        Some(GuardInfo {
            slack: (self.0 >> SLACK_SHIFT & SLACK_MASK) as usize,
            kind: Kind::from_bits(self.0 >> KIND_SHIFT & KIND_MASK)?,
            // SAFETY: only `guard` makes entries with the GUARD bit, always from a
            // `&'static Location`, and all 48 bits of its address are in the entry.
            caller: unsafe { &*caller },
        })
    }
}

const _: () = assert!(align_of::<Location<'_>>() >= 8, "guard entries drop three bits of the caller");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_tells_what_it_was_told() {
        let caller = Location::caller();
        for slack in [0, 1, 4095] {
            let entry = Entry::guard(GuardInfo { slack, kind: Kind::Vmalloc, caller });
            assert!(!entry.is_present() && entry.is_guard() && entry.quarantined_frame().is_none());
            let info = entry.guard_info().expect("is a guard");
            assert_eq!((info.slack, info.kind), (slack, Kind::Vmalloc));
            assert!(core::ptr::eq(info.caller, caller));
        }
    }

    #[test]
    fn quarantine_keeps_the_frame_and_hides_it() {
        for number in [0, 1, 0x12345, (1 << 40) - 1] {
            let mapped = Entry::owned(Frame::new(number)).first_if(true);
            assert_eq!(mapped.frame().number(), number);
            assert!(mapped.is_present() && mapped.is_first() && !mapped.is_last());
            let entry = mapped.quarantined();
            assert!(!entry.is_present() && !entry.is_guard() && !entry.is_first());
            assert_eq!(entry.quarantined_frame(), Some(Frame::new(number)));
            assert_eq!(entry.0 & FRAME_MASK, !(number << 12) & FRAME_MASK, "stored inverted");
        }
    }

    #[test]
    fn an_unused_entry_is_nothing_else() {
        let entry = Entry::UNUSED;
        assert!(entry.is_unused() && !entry.is_present() && !entry.is_guard());
        assert!(entry.quarantined_frame().is_none() && entry.guard_info().is_none());
    }

    #[test]
    fn mappings_are_never_executable_nor_global() {
        for entry in [Entry::owned(Frame::new(5)), Entry::owned_huge(Frame::new(512))] {
            assert_ne!(entry.0 & NO_EXECUTE, 0);
            assert_eq!(entry.0 & (1 << 8), 0, "a CR3 write must drop it");
        }
    }
}
