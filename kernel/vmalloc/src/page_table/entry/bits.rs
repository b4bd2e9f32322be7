//! The bits of entries, as `entry` draws them.

use crate::PAGE_SIZE;

pub(crate) const PRESENT: u64 = 1 << 0;
pub(crate) const WRITABLE: u64 = 1 << 1;
pub(crate) const WRITE_THROUGH: u64 = 1 << 3;
pub(crate) const CACHE_DISABLE: u64 = 1 << 4;
pub(crate) const ACCESSED: u64 = 1 << 5;
pub(crate) const DIRTY: u64 = 1 << 6;
/// In an entry above the leaf tables. In one of a leaf table the bit is [`SMALL_PAT`].
pub(crate) const HUGE: u64 = 1 << 7;
/// In an entry of a leaf table: the highest bit of the number of an entry of the page attribute table.
pub(crate) const SMALL_PAT: u64 = 1 << 7;
pub(crate) const FIRST: u64 = 1 << 9;
/// In an entry that links a directory: the library made that.
pub(crate) const MADE: u64 = 1 << 9;
pub(crate) const LAST: u64 = 1 << 10;
pub(crate) const OWNED: u64 = 1 << 11;
pub(crate) const NO_EXECUTE: u64 = 1 << 63;
/// Marks the pages of a mapping without a guard page. Its first entry has its number of pages, or [`MANY`]; then the second
/// one has the lowest digit of the number, the third one the rest.
pub(crate) const RAM: u64 = 1 << 52;
pub(crate) const LENGTH_SHIFT: u32 = 53;
pub(crate) const LENGTH_MASK: u64 = (RAM_DIGIT as u64 - 1) << LENGTH_SHIFT;
/// Lengths of mappings are below this in one entry, and are written to this base in two.
pub(crate) const RAM_DIGIT: usize = 1 << 6;
/// Pages of the shortest `vm_map_ram` mappings whose first entry does not tell how many they are.
pub(crate) const MANY: usize = RAM_DIGIT - 1;
/// Marks the first page of an area with a guard page below; a `vm_map_ram` mapping has a bit of its length there.
pub(crate) const GUARDED_BELOW: u64 = 1 << 53;
/// Marks the first page of an area whose pages may have several protections, or whose entries do not tell how long it is. A
/// `vm_map_ram` mapping has a bit of its length there, and in those above.
pub(crate) const CHANGED: u64 = 1 << 54;
/// Where the first page of an area of up to [`Entry::MOST_COUNTED`](super::Entry::MOST_COUNTED) pages has how many more there are.
pub(crate) const MORE_SHIFT: u32 = 55;
pub(crate) const MORE_MASK: u64 = 0xf << MORE_SHIFT;
pub(crate) const FRAME_MASK: u64 = 0x000f_ffff_ffff_f000;

pub(crate) const GUARD: u64 = 1 << 62;
/// What all guard pages' entries have, and no other entry that is not present: an address of the upper half has bit 62, too.
pub(crate) const GUARD_MARK: u64 = GUARD | 1 << 1;
pub(crate) const SLACK_SHIFT: u32 = 2;
pub(crate) const SLACK_MASK: u64 = 2 * PAGE_SIZE as u64 - 1;
pub(crate) const KIND_SHIFT: u32 = 15;
pub(crate) const KIND_MASK: u64 = 7;
/// Marks the guard page behind an area whose slack was filled.
pub(crate) const SLACK_FILLED: u64 = 1 << 63;
pub(crate) const CALLER_SHIFT: u32 = 18;
/// Bits 31 to 3 of the caller's address. Above them is a [`Birth`](crate::types::area::birth::Birth).
pub(crate) const CALLER_MASK: u64 = (1 << 29) - 1;
/// The bits of the caller's address where they are, which are inverted.
pub(crate) const CALLER_INVERTED: u64 = CALLER_MASK << CALLER_SHIFT;

/// In an entry that is not present: the page is hidden. Where entries are present the bit means GLOBAL, which none is.
pub(crate) const HIDDEN: u64 = 1 << 8;

const TURN: u32 = u64::BITS - RAM.trailing_zeros();

/// Returns bits 63 to 52 as bits 11 to 0, and bits 19 to 0 above them. They are all but the upper ones of a frame's address.
/// So a mask of them fits into an instruction, and takes no register.
#[inline(always)]
pub(crate) const fn turned(bits: u64) -> u32 {
    bits.rotate_left(TURN) as u32
}
