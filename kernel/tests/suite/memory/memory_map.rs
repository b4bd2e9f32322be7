//! The boot loader's memory map: sorted, merged, however many parts it has.

use alloc::{vec, vec::Vec};
use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use core::ops::Range;
use kernel::memory::map::{CORRUPTED_END, LOW_MEMORY_END, Map};
use vmalloc::PAGE_SIZE;

const PAGE: u64 = PAGE_SIZE as u64;
const MIB: u64 = 1 << 20;
/// UEFI's number of memory that the firmware runs in.
const RUNTIME: MemoryRegionKind = MemoryRegionKind::UnknownUefi(5);
const DEVICE: MemoryRegionKind = MemoryRegionKind::UnknownUefi(11);

fn region(range: Range<u64>, kind: MemoryRegionKind) -> MemoryRegion {
    MemoryRegion { start: range.start, end: range.end, kind }
}

/// Seen failing: with the first 256 parts only, for which alone there was room once.
#[test_case]
fn a_memory_map_may_have_any_number_of_parts() {
    // From above, each page of two in use; every fourth by a device.
    let part = |number: u64| {
        let start = 16 * MIB + number * PAGE;
        let kind = [MemoryRegionKind::Usable, RUNTIME, MemoryRegionKind::Usable, DEVICE][number as usize % 4];
        region(start..start + PAGE, kind)
    };
    let mut parts: Vec<_> = (0..4000).rev().map(part).collect();
    let map = Map::new(&mut parts);
    assert!(
        map.usable()
            .map(|range| (range.start, range.end - range.start))
            .eq((0..2000).map(|number| (16 * MIB + 2 * number * PAGE, PAGE)))
    );
    assert!(
        map.all()
            .map(|range| (range.start, range.end - range.start))
            .eq((0..1000).map(|number| (16 * MIB + 4 * number * PAGE, 3 * PAGE)))
    );
}

#[test_case]
fn neighbours_and_overlaps_are_one_range_of_whole_pages() {
    let usable = MemoryRegionKind::Usable;
    let mut parts = vec![
        region(6 * MIB..7 * MIB, usable),
        region(2 * MIB + 1..3 * MIB, usable),
        region(3 * MIB..4 * MIB - 1, MemoryRegionKind::Bootloader),
        // Within what is there already, and beyond it.
        region(6 * MIB + PAGE..6 * MIB + 2 * PAGE, usable),
        region(6 * MIB + PAGE..8 * MIB, usable),
        region(9 * MIB + 1..9 * MIB + PAGE, usable),
        region(5 * MIB..5 * MIB, usable),
    ];
    let map = Map::new(&mut parts);
    assert!(map.usable().eq([2 * MIB + PAGE..3 * MIB, 6 * MIB..8 * MIB]));
    assert!(map.all().eq([2 * MIB + PAGE..4 * MIB - PAGE, 6 * MIB..8 * MIB]));
}

/// A firmware's map may say two things of one page: the more careful one holds.
///
/// Seen failing with each region by itself.
#[test_case]
fn what_overlaps_something_else_is_not_used() {
    let usable = MemoryRegionKind::Usable;
    let mut parts = vec![
        region(2 * MIB..8 * MIB, usable),
        // At its start, within it, and beyond its end; a page that is used in part only.
        region(MIB..2 * MIB + PAGE, DEVICE),
        region(3 * MIB + 1..3 * MIB + 2, DEVICE),
        region(4 * MIB..5 * MIB, RUNTIME),
        region(7 * MIB..9 * MIB, DEVICE),
        // Within what is not used, and all of another one.
        region(8 * MIB..8 * MIB + PAGE, usable),
        region(10 * MIB..11 * MIB, usable),
        region(10 * MIB..11 * MIB, DEVICE),
        MemoryRegion { start: 20 * MIB, end: 19 * MIB, kind: DEVICE },
        region(18 * MIB..21 * MIB, usable),
    ];
    let map = Map::new(&mut parts);
    let first = 2 * MIB + PAGE..3 * MIB;
    let last = 18 * MIB..21 * MIB;
    assert!(map.usable().eq([first.clone(), 3 * MIB + PAGE..4 * MIB, 5 * MIB..7 * MIB, last.clone()]));
    assert!(map.all().eq([first, 3 * MIB + PAGE..7 * MIB, last]));
}

/// Seen failing: with the first page as the only one that is left alone (CPUs were started at 0x1000).
#[test_case]
fn nobody_gets_memory_that_firmware_is_known_to_write_to() {
    let usable = MemoryRegionKind::Usable;
    let mut parts = vec![region(0..0xa_0000, usable), region(0xf_f000..2 * MIB, usable)];
    let map = Map::new(&mut parts);
    assert!(map.usable().eq(core::iter::once(LOW_MEMORY_END..2 * MIB)));
    assert_eq!(map.low(4 * PAGE), Some(CORRUPTED_END..CORRUPTED_END + 4 * PAGE));
    assert_eq!(map.low(0xa_0000 - CORRUPTED_END), Some(CORRUPTED_END..0xa_0000));
    assert_eq!(map.low(0xa_0000 - CORRUPTED_END + PAGE), None, "nothing reaches above the first MiB");
    let mut parts = vec![region(PAGE..CORRUPTED_END + 3 * PAGE, usable)];
    assert_eq!(Map::new(&mut parts).low(4 * PAGE), None);
}
