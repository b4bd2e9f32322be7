//! Guard pages behind areas: their entries tell whose area ends there.
//!
//! An entry has bits 31 to 3 of where the caller's place in the code is noted, which is within 2 GiB of the library, as all of
//! a kernel is. They are inverted: kernels lie at the lower end of the last 2 GiB, and taken for a frame's address, as a CPU
//! with the L1TF flaw does, the entry is past most memory.

use super::{Entry, bits::*};
use crate::{Kind, types::area::birth::Birth};
use core::panic::Location;

/// What the entry of the guard page behind an area tells of the area.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuardInfo {
    /// Bytes of the last page that were not asked for, and of the first one of an `ioremap`.
    pub slack: usize,
    pub kind: Kind,
    pub caller: &'static Location<'static>,
    /// When the area was made, or last resized.
    pub made: Birth,
}

impl Entry {
    /// Makes the entry of a guard page behind an area.
    #[inline]
    pub fn guard(info: GuardInfo) -> Self {
        debug_assert!(info.slack as u64 <= SLACK_MASK);
        let caller = core::ptr::from_ref(info.caller) as u64;
        debug_assert!(caller.is_multiple_of(8), "the entry does not store the lowest bits");
        debug_assert!(
            nearest(caller as u32) == caller as usize,
            "promise 10 of Platform: {} is too far",
            info.caller
        );
        let (slack, kind) = ((info.slack as u64) << SLACK_SHIFT, (info.kind as u64) << KIND_SHIFT);
        let caller = (caller >> 3 & CALLER_MASK) << CALLER_SHIFT;
        Self((slack | caller | info.made.bits()) ^ (GUARD_MARK | CALLER_INVERTED | kind))
    }

    /// Returns the entry of a guard page behind an area, marked as one whose slack was filled.
    pub fn with_filled_slack(self) -> Self {
        debug_assert!(self.is_guard());
        Self(self.0 | SLACK_FILLED)
    }

    /// Returns whether the entry is that of a guard page behind an area whose slack was filled.
    pub fn has_filled_slack(self) -> bool {
        self.is_guard() && self.0 & SLACK_FILLED != 0
    }

    /// Returns what the entry of a guard page behind an area tells; `None` if it is none.
    pub fn guard_info(self) -> Option<GuardInfo> {
        if !self.is_guard() {
            return None;
        }
        let caller = nearest((((self.0 ^ CALLER_INVERTED) >> CALLER_SHIFT & CALLER_MASK) << 3) as u32)
            as *const Location<'static>;
        Some(GuardInfo {
            slack: (self.0 >> SLACK_SHIFT & SLACK_MASK) as usize,
            kind: Kind::from_number(self.0 >> KIND_SHIFT & KIND_MASK)?,
            // SAFETY: only `guard` makes entries with the GUARD bit, always from a `&'static Location` that is not
            // farther from here than `nearest` asks for (promise 10 of `Platform`).
            caller: unsafe { &*caller },
            made: Birth::in_entry(self.0),
        })
    }

    /// Returns whether two guard pages' entries tell of one caller and kind.
    #[inline(always)]
    pub fn is_asked_like(self, other: Self) -> bool {
        const ASKED: u64 = GUARD_MARK | KIND_MASK << KIND_SHIFT | CALLER_MASK << CALLER_SHIFT;
        (self.0 ^ other.0) & ASKED == 0
    }

    /// Returns when the area was made whose guard page has this entry.
    #[inline(always)]
    pub fn birth(self) -> Birth {
        Birth::in_entry(self.0)
    }
}

/// Returns the address, within 2 GiB of the library's own code, whose lowest 32 bits are these.
fn nearest(low: u32) -> usize {
    let here = nearest as fn(u32) -> usize as usize;
    here.wrapping_add_signed(low.wrapping_sub(here as u32).cast_signed() as isize)
}

const _: () = assert!(align_of::<Location<'_>>() >= 8, "guard entries drop three bits of the caller");
