//! The memory map that the boot loader hands over, as ranges of whole pages.

use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use core::{iter, ops::Range};
use vmalloc::PAGE_SIZE;

/// Firmware and the start code of other CPUs live below.
pub const LOW_MEMORY_END: u64 = 1 << 20;
/// Firmwares were seen to write here at any time; Linux keeps its hands off it too (`reservelow`).
pub const CORRUPTED_END: u64 = 64 << 10;

/// A memory map, however many parts it has: sorted where it lies, nothing is allocated.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    regions: &'a [MemoryRegion],
}

impl<'a> Map<'a> {
    /// Sorts the loader's map.
    pub fn new(regions: &'a mut [MemoryRegion]) -> Self {
        regions.sort_unstable_by_key(|region| region.start);
        Self { regions }
    }

    /// Memory that nobody uses, above the first MiB.
    pub fn usable(self) -> Ranges<'a> {
        Ranges::new(self.regions, |kind| kind == MemoryRegionKind::Usable, LOW_MEMORY_END)
    }

    /// All memory, whoever uses it, as opposed to devices and holes.
    pub fn all(self) -> Ranges<'a> {
        Ranges::new(self.regions, is_memory, 0)
    }

    /// The lowest unused range of this many bytes in the first MiB that no firmware is known to write to.
    pub fn low(self, bytes: u64) -> Option<Range<u64>> {
        let mut ranges = Ranges::new(self.regions, |kind| kind == MemoryRegionKind::Usable, CORRUPTED_END);
        let range = ranges.find(|range| range.start + bytes <= range.end.min(LOW_MEMORY_END))?;
        Some(range.start..range.start + bytes)
    }
}

/// The numbers are UEFI's memory types: loader, boot and runtime services, conventional, ACPI, persistent.
fn is_memory(kind: MemoryRegionKind) -> bool {
    match kind {
        MemoryRegionKind::Usable | MemoryRegionKind::Bootloader => true,
        MemoryRegionKind::UnknownUefi(kind) => matches!(kind, 1..=7 | 9 | 10 | 14),
        _ => false,
    }
}

/// Page-aligned physical ranges, lowest first: none empty, none that touch or overlap. Where a region that is wanted overlaps
/// one that is not, as in some firmwares' maps, the other one has it.
#[derive(Clone, Debug)]
pub struct Ranges<'a> {
    /// The regions that begin at `at` or above.
    rest: &'a [MemoryRegion],
    wanted: fn(MemoryRegionKind) -> bool,
    at: u64,
    /// The end of what is wanted, and of what is not, of the regions that begin below `at`.
    wanted_end: u64,
    unwanted_end: u64,
}

impl<'a> Ranges<'a> {
    fn new(regions: &'a [MemoryRegion], wanted: fn(MemoryRegionKind) -> bool, from: u64) -> Self {
        Self { rest: regions, wanted, at: from, wanted_end: 0, unwanted_end: 0 }
    }

    /// The next range, whether or not it has whole pages.
    fn next_bytes(&mut self) -> Option<Range<u64>> {
        let mut found: Option<Range<u64>> = None;
        loop {
            // Nothing begins in between.
            let next = self.rest.first().map_or(u64::MAX, |region| region.start.max(self.at));
            let part = self.at.max(self.unwanted_end)..next.min(self.wanted_end);
            match &mut found {
                _ if part.is_empty() => {}
                None => found = Some(part),
                Some(found) if part.start <= found.end => found.end = part.end,
                Some(_) => return found,
            }
            self.at = next;
            let Some((region, rest)) = self.rest.split_first() else { return found };
            self.rest = rest;
            let end = if (self.wanted)(region.kind) { &mut self.wanted_end } else { &mut self.unwanted_end };
            *end = region.end.max(*end);
        }
    }
}

impl Iterator for Ranges<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        let page = PAGE_SIZE as u64;
        let whole = |bytes: Range<u64>| bytes.start.next_multiple_of(page)..bytes.end / page * page;
        iter::from_fn(|| self.next_bytes()).map(whole).find(|pages| !pages.is_empty())
    }
}
