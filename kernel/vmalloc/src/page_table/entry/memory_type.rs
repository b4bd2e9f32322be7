//! Memory types: which bits of an entry give the one that is asked for.
//!
//! Three bits of an entry, PAT, PCD and PWT, are the number of an entry of the page attribute table, which has the memory
//! type (Intel SDM 3A, section 12.12.3). PAT is bit 7 of the entry of a small page, and bit 12 of that of a 2 MiB page,
//! where bit 7 tells that it is one.

use super::bits::{CACHE_DISABLE, HUGE, SMALL_PAT, WRITE_THROUGH};
use crate::Cache;

/// How far bit 12 is from bit 7.
const PAT_SHIFT: u32 = 5;

/// The memory types as the table has them: Intel SDM 3A, table 12-10.
const UNCACHED: u64 = 0;
const WRITE_COMBINING: u64 = 1;
const WRITE_THROUGH_TYPE: u64 = 4;
const WRITE_BACK: u64 = 6;
/// Uncached, unless the MTRRs say write combining.
const UNCACHED_MINUS: u64 = 7;

/// Returns the bits, in the entry of a small page, of the lowest entry of a page attribute table that caches as is asked
/// for. Where none does, that is one which does not cache; `None` if there is none of these either.
pub(super) fn bits(cache: Cache, pat: u64) -> Option<u64> {
    let types: &[u64] = match cache {
        Cache::WriteBack => &[WRITE_BACK],
        Cache::WriteThrough => &[WRITE_THROUGH_TYPE, UNCACHED, UNCACHED_MINUS],
        Cache::WriteCombining => &[WRITE_COMBINING, UNCACHED_MINUS, UNCACHED],
        Cache::Uncached => &[UNCACHED, UNCACHED_MINUS],
    };
    let entry_of = |&memory_type: &u64| (0..8).find(|entry| pat >> (8 * entry) & 7 == memory_type);
    let entry: u64 = types.iter().find_map(entry_of)?;
    let bit = |number: u32, bit: u64| if entry >> number & 1 == 1 { bit } else { 0 };
    Some(bit(0, WRITE_THROUGH) | bit(1, CACHE_DISABLE) | bit(2, SMALL_PAT))
}

/// Returns the attributes of a small page as a 2 MiB page has them.
pub(super) fn to_huge(bits: u64) -> u64 {
    bits & !SMALL_PAT | (bits & SMALL_PAT) << PAT_SHIFT | HUGE
}

/// Returns the entry of a 2 MiB page as a small page has it.
pub(super) fn to_small(bits: u64) -> u64 {
    const HUGE_PAT: u64 = SMALL_PAT << PAT_SHIFT;
    bits & !(HUGE | HUGE_PAT) | (bits & HUGE_PAT) >> PAT_SHIFT
}
