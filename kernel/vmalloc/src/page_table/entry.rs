//! Page table entries of the instance's range, and what they carry besides translations.
//!
//! ```text
//!  63  62 61  47 46        18 17  15 14    2 1 0
//! ┌──┬───┬──────┬────────────┬──────┬───────┬───┐
//! │ S│ 1 │ time │ caller / 8 │ kind │ slack │1 0│  guard: never present, tells whose area ends here; S slack filled;
//! └──┴───┴──────┴────────────┴──────┴───────┴───┘  the caller inverted
//! ┌──┬─────┬──────────────────┬─┬─┬─┬────┬───┐
//! │NX│  R  │ frame (51..12)   │O│L│F│    │ 1 │  mapped; F first, L last page of an area, O owned frame
//! └──┴─────┴──────────────────┴─┴─┴─┴────┴───┘  R: by vm_map_ram, bit 52, and how many pages, bits 58..53
//! ┌──┬─────┬──────────────────┬─┬─┬─┬────┬───┐
//! │NX│  0  │ frame, inverted  │O│L│F│    │ 0 │  quarantined: unmapped, the frame not yet given back
//! └──┴─────┴──────────────────┴─┴─┴─┴────┴───┘
//! ┌──┬─────┬──────────────────┬─┬─┬─┬─┬──┬───┐
//! │NX│     │ frame, inverted  │O│L│F│1│  │ 0 │  hidden: an area's page that nobody may access
//! └──┴─────┴──────────────────┴─┴─┴─┴─┴──┴───┘
//! ┌───────────────────────────┬───────────────┐
//! │ address, bits 63..12      │       0       │  the page behind a parked area, which starts at the address
//! └───────────────────────────┴───────────────┘
//! ```
//! The entry of a guard page below an area is bit 63 alone; the area's first entry has bit 53 then, and not bit 52. Bits 58
//! to 55 of a small area's first entry tell how many more pages there are, if they are few; bit 54 that it is changed. Those
//! of a run tell nothing.
//! Bits 52 and 54 together, in the first entry of an area that owns its frames, tell that pages of it may be hidden.
//! A zero entry is unused. A quarantined entry holds its frame until each CPU has flushed, so that nobody else gets it;
//! the frame number is inverted so that a CPU with the L1TF flaw, which speculates
//! through entries that are not present, finds no memory there.

mod attributes;
mod bits;
mod directory;
mod guard;
mod hidden;
mod memory_type;

use crate::{Frame, PAGE_SIZE, Protection, types::Owner};
pub(crate) use attributes::Attributes;
use bits::*;
pub(crate) use bits::{MANY, RAM_DIGIT};
pub(crate) use guard::GuardInfo;

/// The value of one page table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Entry(pub u64);

impl Entry {
    pub const UNUSED: Self = Self(0);
    /// The bit that marks an area's last page.
    pub const LAST_MARK: u64 = LAST;
    /// Pages of the longest areas whose first entry tells how many they are.
    pub const MOST_COUNTED: usize = 16;
    /// Pages of the longest areas whose second and third entry tell it.
    pub const MOST_TOLD: usize = Self::MOST_COUNTED * Self::MOST_COUNTED - 1;

    /// The entry of a guard page below an area.
    pub const GUARD_BELOW: Self = Self(1 << 63);

    /// Makes an entry that maps a 4 KiB frame. It is never global, so that a CR3 write drops it.
    #[inline]
    pub fn page(frame: Frame, attributes: Attributes) -> Self {
        Self(frame.address() | attributes.0)
    }

    /// Makes an entry that maps a 2 MiB frame, at the level above the leaf tables.
    #[inline]
    pub fn huge(first: Frame, attributes: Attributes) -> Self {
        Self(first.address() | memory_type::to_huge(attributes.0))
    }

    /// Returns the entry for 4 KiB page `page` of the 2 MiB page that this entry maps.
    pub fn small_page(self, page: usize) -> Self {
        debug_assert!(self.is_huge() && page < 512);
        const FIRSTS: u64 = FIRST | GUARDED_BELOW | Entry::HIDES_MARK;
        let marks = if page == 0 { FIRSTS } else { 0 } | if page == 511 { LAST } else { 0 };
        let first = self.0 & !(FIRSTS | LAST) | self.0 & marks;
        Self(memory_type::to_small(first) + (page as u64) * PAGE_SIZE as u64)
    }

    /// Returns the entry of an area's page with another protection.
    pub fn protected(self, protection: Protection) -> Self {
        match protection {
            Protection::None => self.hidden(),
            _ => Self(self.shown().0 & !Attributes::PROTECTION | attributes::protection_bits(protection)),
        }
    }

    /// Returns the protection of an area's page; `None` if no page is mapped or hidden there.
    pub fn protection(self) -> Option<Protection> {
        match self.is_hidden() {
            true => Some(Protection::None),
            false => self.is_present().then(|| attributes::protection_of(self)),
        }
    }

    /// Returns the entry marked as the first of the pages of an area.
    #[inline]
    pub fn with_first(self, pages: usize) -> Self {
        let more = if pages <= Self::MOST_COUNTED { (pages as u64 - 1) << MORE_SHIFT } else { 0 };
        Self(self.0 | FIRST | more)
    }

    /// Returns the entry of an area's first page, marked as one with a guard page below.
    pub fn with_guard_below(self) -> Self {
        Self(self.0 | GUARDED_BELOW)
    }

    pub fn without_guard_below(self) -> Self {
        Self(self.0 & !GUARDED_BELOW)
    }

    /// Returns whether an area starts here that owns its frames and has a guard page below.
    pub fn has_guard_below(self) -> bool {
        const START: u64 = PRESENT | FIRST | OWNED | GUARDED_BELOW;
        self.0 & START == START
    }

    /// Returns whether what a present entry maps may be executed.
    #[inline(always)]
    pub fn is_executable(self) -> bool {
        self.0 & NO_EXECUTE == 0
    }

    /// Returns whether an area starts here that owns its frames, has no guard page below, and is not
    /// [changed](Self::is_changed): its entries tell how long it is.
    #[inline(always)]
    pub fn is_plain_start(self) -> bool {
        const START: u64 = PRESENT | FIRST | OWNED;
        self.0 & (START | RAM | GUARDED_BELOW | CHANGED) == START
    }

    /// Returns whether an area starts here as [`is_plain_start`](Self::is_plain_start) says, and is no code: a CPU may have
    /// fetched in advance what was there before, until a flush has it start anew, which parked areas do without (Intel SDM 3A,
    /// section 9.1.3).
    #[inline(always)]
    pub fn is_parkable(self) -> bool {
        const START: u64 = PRESENT | FIRST | OWNED | NO_EXECUTE;
        self.0 & (START | RAM | GUARDED_BELOW | CHANGED) == START
    }

    /// Returns how many pages the area has that starts with this entry, if the entry tells.
    #[inline(always)]
    pub fn pages(self) -> Option<usize> {
        let more = (self.0 & MORE_MASK) >> MORE_SHIFT;
        (more > 0 || self.0 & LAST != 0).then_some(more as usize + 1)
    }

    /// Makes the entry of the page behind an area that is parked, which tells where the area starts. Taken for a frame's
    /// address, as a CPU with the L1TF flaw does, it is [past](Self::can_be_parked_at) the 46 bits that these CPUs have.
    #[inline(always)]
    pub fn behind_parked(address: usize) -> Self {
        debug_assert!(address.is_multiple_of(PAGE_SIZE) && Self::can_be_parked_at(address));
        Self(address as u64)
    }

    /// Returns whether an entry can have this address: whether its bits 51 to 12 are no frame's of a CPU with the L1TF flaw.
    pub fn can_be_parked_at(address: usize) -> bool {
        address as u64 & FRAME_MASK >= 1 << 46
    }

    /// Returns where the parked area starts that this entry lies behind.
    #[inline(always)]
    pub fn parked_address(self) -> usize {
        debug_assert!(self.0 != 0 && self.0.is_multiple_of(PAGE_SIZE as u64));
        self.0 as usize
    }

    /// Returns the first entry of an area of up to [`MOST_COUNTED`](Self::MOST_COUNTED) pages, which has as many from now on.
    pub fn with_pages(self, pages: usize) -> Self {
        debug_assert!(pages <= Self::MOST_COUNTED);
        Self(self.0 & !MORE_MASK | (pages as u64 - 1) << MORE_SHIFT)
    }

    /// Returns the entry of an area's page with this digit of how many pages the area has.
    pub fn with_digit(self, digit: usize) -> Self {
        debug_assert!(digit < Self::MOST_COUNTED);
        Self(self.0 | (digit as u64) << MORE_SHIFT)
    }

    pub fn digit(self) -> usize {
        ((self.0 & MORE_MASK) >> MORE_SHIFT) as usize
    }

    /// Returns the first entry of an area whose pages may have several protections, or whose entries do not tell how long it is.
    pub fn changed(self) -> Self {
        Self(self.0 | CHANGED)
    }

    /// Returns whether an area starts here whose pages may have several protections, or whose entries do not tell how long it is.
    pub fn is_changed(self) -> bool {
        self.0 & CHANGED != 0
    }

    /// Returns a mapped entry as it is while its area is parked, with its marks kept, or the other way round.
    #[inline(always)]
    pub fn toggled(self) -> Self {
        Self(self.0 ^ (FRAME_MASK | PRESENT))
    }

    /// Returns whether the entry, with the marks of an area's ends or without, maps a page with these attributes.
    #[inline(always)]
    pub fn maps_as(self, attributes: Attributes) -> bool {
        turned(self.0 ^ attributes.0) & turned(!(FIRST | LAST | MORE_MASK | FRAME_MASK)) == 0
    }

    /// Returns the entry marked as the last page of an area.
    #[inline]
    pub fn with_last(self) -> Self {
        Self(self.0 | LAST)
    }

    /// Returns the entry marked as the first page of a `vm_map_ram` mapping of so many pages, or of [`MANY`] and more.
    #[inline(always)]
    pub fn with_ram_start(self, pages: usize) -> Self {
        Self(self.0 | FIRST).with_ram_length(pages)
    }

    /// Returns the entry of a `vm_map_ram` mapping with this length, or digit of one, in it.
    #[inline(always)]
    pub fn with_ram_length(self, length: usize) -> Self {
        debug_assert!(length < RAM_DIGIT);
        Self(self.0 | (length as u64) << LENGTH_SHIFT)
    }

    /// Returns whether [`with_ram_length`](Self::with_ram_length) was told this length.
    #[inline(always)]
    pub fn has_ram_length(self, length: usize) -> bool {
        debug_assert!(length < RAM_DIGIT);
        self.0 & LENGTH_MASK == (length as u64) << LENGTH_SHIFT
    }

    /// Returns whether [`with_ram_start`](Self::with_ram_start) was told so many pages, or of [`MANY`].
    #[inline(always)]
    pub fn starts_ram(self, pages: usize) -> bool {
        const START: u64 = PRESENT | FIRST | RAM;
        debug_assert!(pages < RAM_DIGIT);
        turned(self.0) & turned(START | OWNED | LENGTH_MASK)
            == turned(START) | (pages as u32) << (LENGTH_SHIFT - RAM.trailing_zeros())
    }

    /// Returns whether the page belongs to a `vm_map_ram` mapping that shares a block.
    pub fn is_ram(self) -> bool {
        self.0 & (PRESENT | RAM | OWNED) == PRESENT | RAM
    }

    #[inline]
    pub fn without_last(self) -> Self {
        Self(self.0 & !LAST)
    }

    #[inline]
    pub fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    pub fn is_unused(self) -> bool {
        self.0 == 0
    }

    /// Returns whether an entry above the leaf tables, or of an area that owns its frames, maps a 2 MiB page.
    pub fn is_huge(self) -> bool {
        self.0 & (PRESENT | HUGE) == PRESENT | HUGE
    }

    /// Returns whether an area starts here that has a guard page behind it only, no [hidden](Self::hides) pages, and whose
    /// frames are `owner`'s.
    #[inline(always)]
    pub fn is_start(self, owner: Owner) -> bool {
        const START: u64 = PRESENT | FIRST;
        self.0 & (START | RAM | GUARDED_BELOW | OWNED) == START | attributes::owner_bits(owner)
    }

    /// Returns whether an area starts here whose frames are `owner`'s, with a guard page below or without, and with hidden
    /// pages or without.
    pub fn is_any_start(self, owner: Owner) -> bool {
        const START: u64 = PRESENT | FIRST | OWNED;
        self.is_start(owner) || owner == Owner::Area && self.0 & START == START
    }

    /// Returns whether an area starts here that owns its frames and has no [hidden](Self::hides) pages, with a guard page
    /// below or without.
    #[inline]
    pub fn is_resizable(self) -> bool {
        const START: u64 = PRESENT | FIRST | OWNED;
        self.0 & (START | RAM) == START
    }

    /// Returns whether the entry maps a frame that the area owns.
    pub fn is_owned(self) -> bool {
        self.0 & (PRESENT | OWNED) == PRESENT | OWNED
    }

    pub fn is_guard(self) -> bool {
        self.0 & (PRESENT | GUARD_MARK) == GUARD_MARK
    }

    pub fn is_first(self) -> bool {
        self.0 & (PRESENT | FIRST) == PRESENT | FIRST
    }

    #[inline]
    pub fn is_last(self) -> bool {
        // Apart, so that who knows that the entry is present tests one bit.
        self.is_present() && self.0 & LAST != 0
    }

    /// Returns the frame of a present entry, be it a table's or a small page's, or the first of a 2 MiB page that the area
    /// owns.
    #[inline]
    pub fn frame(self) -> Frame {
        debug_assert!(self.is_present());
        Frame::at(self.0 & FRAME_MASK)
    }

    /// Returns the frame of an address that this entry maps, of a page of 2 to the power of `shift` bytes.
    #[cfg(feature = "check")]
    pub fn frame_within(self, address: usize, shift: u32) -> Frame {
        let inside = (1 << shift) - 1;
        Frame::at((self.0 & !inside | address as u64 & inside) & FRAME_MASK)
    }

    #[cfg(feature = "check")]
    pub fn is_writable(self) -> bool {
        self.0 & WRITABLE != 0
    }

    /// Returns the present entry as quarantined: no CPU can load the translation any more, but those that
    /// have it keep it until they flush.
    #[inline]
    pub fn quarantined(self) -> Self {
        debug_assert!(self.is_present());
        self.toggled()
    }

    /// Returns what a quarantined entry was before.
    #[inline]
    pub fn mapped(self) -> Self {
        debug_assert!(!self.is_present());
        self.toggled()
    }

    /// Returns what a quarantined entry was before, if it mapped an area's own frame with these attributes and no marks.
    #[inline]
    pub fn mapped_as(self, attributes: Attributes) -> Option<Self> {
        Self::are_mapped_as(self.0 ^ attributes.unmapped()).then(|| self.mapped())
    }

    /// Returns what the entry of a page was while its area was parked, which may have been mapped again.
    pub fn parked(self) -> Self {
        if self.is_present() { self.quarantined() } else { self }
    }

    /// Returns whether the quarantined entry differs from these attributes in its dirty bit at most.
    pub fn fits(self, attributes: Attributes) -> bool {
        Self::are_mapped_as((self.0 ^ attributes.unmapped()) & !DIRTY)
    }

    /// Returns whether [`mapped_as`](Self::mapped_as) would accept each of some entries; `different` are the bits in which
    /// any of them differs from [`Attributes::unmapped`].
    #[inline(always)]
    pub fn are_mapped_as(different: u64) -> bool {
        different & !FRAME_MASK == 0
    }

    /// Returns the entry without the marks of an area's ends.
    #[inline]
    pub fn unmarked(self) -> Self {
        Self(self.0 & !(FIRST | LAST | CHANGED | MORE_MASK))
    }

    /// Returns the area's own frame that waits in a quarantined entry. It is free to use only after a flush.
    #[inline]
    pub fn quarantined_frame(self) -> Option<Frame> {
        (self.0 & (PRESENT | GUARD | HIDDEN | OWNED) == OWNED).then(|| Frame::at(!self.0 & FRAME_MASK))
    }

    /// Returns whether the frame of this entry is still full of zeros. An entry that is not dirty was made for a frame of
    /// zeros, and marked dirty by the CPU with the first write, or by who hands the frame out to be written by another
    /// mapping.
    #[inline]
    pub fn is_known_zero(self) -> bool {
        self.0 & DIRTY == 0
    }

    /// Returns the entry marked as written.
    pub fn with_dirty(self) -> Self {
        Self(self.0 | DIRTY)
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
