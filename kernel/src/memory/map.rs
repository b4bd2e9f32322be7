//! The memory map that the boot loader hands over, as ranges of whole pages.

use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use core::ops::Range;
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
        Ranges { rest: self.regions, wanted: |kind| kind == MemoryRegionKind::Usable, from: LOW_MEMORY_END }
    }

    /// All memory, whoever uses it, as opposed to devices and holes.
    pub fn all(self) -> Ranges<'a> {
        Ranges { rest: self.regions, wanted: is_memory, from: 0 }
    }

    /// The lowest unused range of this many bytes in the first MiB that no firmware is known to write to.
    pub fn low(self, bytes: u64) -> Option<Range<u64>> {
        let unused = |kind| kind == MemoryRegionKind::Usable;
        let mut ranges = Ranges { rest: self.regions, wanted: unused, from: CORRUPTED_END };
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

/// Page-aligned physical ranges, lowest first: none empty, none that touch or overlap.
#[derive(Clone, Debug)]
pub struct Ranges<'a> {
    rest: &'a [MemoryRegion],
    wanted: fn(MemoryRegionKind) -> bool,
    from: u64,
}

impl Ranges<'_> {
    /// The next region's whole pages, if any of them is wanted.
    fn pages(&self, region: &MemoryRegion) -> Option<Range<u64>> {
        let page = PAGE_SIZE as u64;
        let range = region.start.max(self.from).next_multiple_of(page)..region.end / page * page;
        ((self.wanted)(region.kind) && !range.is_empty()).then_some(range)
    }
}

impl Iterator for Ranges<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        let mut merged: Option<Range<u64>> = None;
        while let Some((region, rest)) = self.rest.split_first() {
            match (self.pages(region), &mut merged) {
                (None, _) => {}
                (Some(pages), None) => merged = Some(pages),
                (Some(pages), Some(merged)) if pages.start <= merged.end => {
                    merged.end = merged.end.max(pages.end)
                }
                (Some(_), Some(_)) => break,
            }
            self.rest = rest;
        }
        merged
    }
}
