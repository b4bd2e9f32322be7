//! Addresses that no CPU has, frames that are no memory, and limits that cannot be reached.

extern crate std;

use crate::{
    AllocError, BLOCK_SIZE, Cache, Frame, NewError, PAGE_SIZE, Platform, Protection, Request, Returned,
    Stats, Vmalloc,
    page_table::{directories, entry::Entry},
    tests::{
        machine::Machine,
        support::{START, address, at, free, instance, map_ram, resize, take, unmap, unmap_ram},
    },
};
use core::{ops::Range, sync::atomic::Ordering};
use std::vec::Vec;

/// Registers of a device: no memory of the machine.
const DEVICE: Frame = Frame::new(0xfee00);

/// Seen failing with `is_canonical` true of everything, of what begins in the lower half, of what ends in it.
#[test]
fn a_range_lies_in_one_half_of_the_address_space() {
    let machine = Machine::new(1, 400);
    let make = |range: Range<usize>| {
        // SAFETY: nothing else is there.
        unsafe { Vmalloc::new(&machine, range) }.map(drop)
    };
    let (lower, upper): (usize, usize) = (1 << 47, !0 << 47);
    let free = machine.free_frames();
    for (start, end) in [
        (lower - BLOCK_SIZE, lower + BLOCK_SIZE),
        (lower, lower + BLOCK_SIZE),
        (upper - BLOCK_SIZE, upper),
        (upper - BLOCK_SIZE, upper + BLOCK_SIZE),
        (0x1234_5678_9020_0000, 0x1234_5678_9040_0000),
        // As long as a range can be, over the edge on either side.
        (lower - BLOCK_SIZE, lower - BLOCK_SIZE + crate::MAX_RANGE),
        (upper + BLOCK_SIZE - crate::MAX_RANGE, upper + BLOCK_SIZE),
    ] {
        assert_eq!(make(start..end), Err(NewError::NotCanonical(start..end)));
    }
    assert_eq!(machine.free_frames(), free, "nothing was taken for them");
    for start in [BLOCK_SIZE, lower - BLOCK_SIZE, upper, usize::MAX - 2 * BLOCK_SIZE + 1] {
        assert_eq!(make(start..start + BLOCK_SIZE), Ok(()), "{start:#x}");
    }
}

/// Seen failing with 52 bits taken for granted.
#[test]
fn what_the_cpus_cannot_address_is_not_mapped() {
    let machine = Machine::new(1, 2000);
    let vmalloc = instance(&machine, 8);
    let end = 1 << (&machine).physical_bits();
    let page = PAGE_SIZE as u64;
    for (start, size) in [(end, 1), (end - 1, 2), (end - page, 2 * PAGE_SIZE), (end << 4, 4), (1 << 51, 4)] {
        let refused = AllocError::BadPhysicalRange { start, size };
        assert_eq!(vmalloc.ioremap(start, size, Cache::Uncached), Err(refused));
    }
    let last = Frame::new(end / page - 1);
    for beyond in [end / page, (1 << 40) - 1].map(Frame::new) {
        for count in [1, 2, 9, 40, 600] {
            for place in [0, count / 2, count - 1] {
                let mut frames = std::vec![last; count];
                frames[place] = beyond;
                let refused = Err(AllocError::BadFrame { frame: beyond });
                for map in [Vmalloc::vmap, Vmalloc::vm_map_ram] {
                    // In a bump run, too.
                    let warm = vmalloc.vm_map_ram(&[last], Protection::ReadWrite).expect("room");
                    assert_eq!(map(&vmalloc, &frames, Protection::ReadWrite), refused);
                    unmap_ram(&vmalloc, warm, 1).expect("mapped");
                }
            }
        }
    }
    assert_eq!(vmalloc.areas().count(), 0);
    let mapped = vmalloc.ioremap(end - page, PAGE_SIZE, Cache::Uncached).expect("the last page");
    unmap(&vmalloc, mapped).expect("mapped");
    let mapped = vmalloc.vmap(&[last; 3], Protection::ReadWrite).expect("room");
    unmap(&vmalloc, mapped).expect("mapped");
}

/// Seen failing with bits left out that an even number of frames have.
#[test]
fn several_frames_that_the_cpus_cannot_address_do_not_hide_each_other() {
    let machine = Machine::new(1, 2000);
    let vmalloc = instance(&machine, 8);
    let last = Frame::new((1 << (&machine).physical_bits()) / PAGE_SIZE as u64 - 1);
    let beyond = Frame::new(last.number() + 1);
    for frames in [[beyond, beyond, last], [last, beyond, beyond], [beyond, last, beyond]] {
        for map in [Vmalloc::vmap, Vmalloc::vm_map_ram] {
            let refused = map(&vmalloc, &frames, Protection::ReadWrite);
            assert_eq!(refused, Err(AllocError::BadFrame { frame: beyond }));
        }
    }
}

/// In release builds too: seen failing there with a `debug_assert`.
#[test]
#[should_panic(expected = "40 bits of frame numbers")]
fn a_frame_number_has_40_bits() {
    let _ = Frame::new(1 << 40);
}

/// Seen failing without a check of what is RAM, and with one of the first page alone.
#[test]
fn ram_is_not_mapped_uncached() {
    let machine = Machine::new(1, 400);
    let vmalloc = instance(&machine, 8);
    let frame = take(&machine, 1)[0];
    let first =
        (1..).map(|behind| Frame::new(frame.number() - behind)).find(|&frame| !(&machine).is_ram(frame));
    let before = first.expect("memory begins somewhere");
    for cache in [Cache::Uncached, Cache::WriteThrough] {
        let refused = Err(AllocError::CachedElsewhere { frame });
        assert_eq!(vmalloc.ioremap(frame.address() + 8, 8, cache), refused);
        let frame = Frame::new(before.number() + 1);
        let refused = Err(AllocError::CachedElsewhere { frame });
        assert_eq!(vmalloc.ioremap(before.address(), PAGE_SIZE + 1, cache), refused, "in its second page");
        let mapped = vmalloc.ioremap(before.address(), PAGE_SIZE, cache).expect("none of it is RAM");
        unmap(&vmalloc, mapped).expect("mapped");
    }
    let mapped = vmalloc.ioremap(frame.address(), PAGE_SIZE, Cache::WriteBack).expect("cached as elsewhere");
    unmap(&vmalloc, mapped).expect("mapped");
    (&machine).give_frames(Returned::new(core::iter::once(frame)));
}

/// Seen failing, by a frame that the direct map does not show, with areas of `ioremap` alone left out; and with
/// what is no area's own left out altogether.
#[test]
fn what_the_direct_map_does_not_show_is_not_read() {
    let machine = Machine::new(1, 2000);
    let vmalloc = instance(&machine, 64);
    let ram = take(&machine, 1)[0];
    // SAFETY: the frame is the test's.
    unsafe { (&machine).direct_map(ram).write_bytes(7, PAGE_SIZE) };
    for other in [DEVICE, Frame::new(0), Frame::new((1 << 28) - 1)] {
        for count in [2, 600] {
            let mut frames = std::vec![other; count];
            frames[1] = ram;
            for map in [Vmalloc::vmap, Vmalloc::vm_map_ram] {
                let area = map(&vmalloc, &frames, Protection::ReadWrite).expect("room");
                let mut bytes = std::vec![1; count * PAGE_SIZE];
                assert_eq!(vmalloc.vread(address(area), &mut bytes), PAGE_SIZE, "what is RAM");
                assert!(
                    bytes.iter().enumerate().all(|(at, &byte)| byte == 7 * u8::from(at / PAGE_SIZE == 1))
                );
            }
        }
    }
}

/// Seen failing with the bytes before the registers, in their first page, counted.
#[test]
fn an_area_of_registers_is_as_long_as_was_asked_for() {
    let machine = Machine::new(1, 2000);
    let vmalloc = instance(&machine, 8);
    let page = PAGE_SIZE as u64;
    for (offset, size) in
        [(0, 1), (0xff8, 16), (0xfff, 1), (0xfff, 2), (1, 3 * PAGE_SIZE - 1), (5, 600 * PAGE_SIZE)]
    {
        let registers = vmalloc.ioremap(DEVICE.address() + offset, size, Cache::Uncached).expect("room");
        let area = vmalloc.find_area(address(registers)).expect("mapped");
        let pages = (offset + size as u64).div_ceil(page) as usize;
        assert_eq!((area.requested, area.pages), (size, pages), "{size} bytes at {offset:#x}");
        unmap(&vmalloc, registers).expect("mapped");
    }
}

/// Seen failing, by more than one purge a free, with the limit as a negative number.
#[test]
fn no_number_of_pages_is_too_many_if_none_is_to_be() {
    let machine = Machine::new(1, 4000);
    let vmalloc = instance(&machine, 8);
    for (most, priority) in [(usize::MAX, 2), (usize::MAX / 2 + 1, 1), (1 << 62, 2)] {
        vmalloc.tunables().lazy_max_pages.store(most, Ordering::Relaxed);
        vmalloc.tunables().purge_priority.store(priority, Ordering::Relaxed);
        for starved in [false, true] {
            if starved {
                machine.starve_purger();
            }
            let areas: Vec<_> = (0..5).map(|_| vmalloc.vmalloc(300 * PAGE_SIZE).expect("room")).collect();
            let purges = vmalloc.tally().purges;
            areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
            assert_eq!(vmalloc.tally().purges, purges, "a limit of {most}");
            vmalloc.purge();
        }
    }
}

/// Counters that are read while others free may be such. Seen failing, by an underflow, with subtractions that do not
/// saturate.
#[test]
fn counters_of_different_moments_give_no_negative_number() {
    let stats = Stats { total: 100, free: 60, lazy: 50, largest_free_run: 70, ..Stats::default() };
    assert_eq!((stats.used(), stats.fragmentation()), (0, 0));
    let stats = Stats { total: 100, free: 50, lazy: 20, largest_free_run: 40, ..Stats::default() };
    assert_eq!((stats.used(), stats.fragmentation()), (30, 2000));
    assert_eq!((Stats::default().used(), Stats::default().fragmentation()), (0, 0));
}

/// Seen failing with the frame's number as its place's contents, and 0 for none.
#[test]
fn frame_0_is_a_spare_like_any_other() {
    let machine = Machine::new(1, 400);
    let vmalloc = instance(&machine, 4);
    for frame in [0, 1, (1 << 40) - 1].map(Frame::new) {
        assert_eq!(
            (vmalloc.areas_room().pools.spares(), vmalloc.areas_room().pools.take_spare(0)),
            (0, None)
        );
        vmalloc.areas_room().pools.put_spare(0, frame);
        assert_eq!(
            (vmalloc.areas_room().pools.spares(), vmalloc.areas_room().pools.take_spare(0)),
            (1, Some(frame))
        );
    }
}

/// Seen failing, by what was taken for a directory, with such an entry left alone.
#[test]
fn an_entry_that_is_not_present_links_nothing_whatever_is_in_it() {
    let machine = Machine::new(1, 400);
    let platform = &machine;
    // SAFETY: nobody else uses the machine.
    let root = unsafe { directories::table(&platform, platform.root()) };
    root[START >> directories::ROOT_SHIFT & 511].set(Entry(0x1234_5678_9abc_def0));
    let vmalloc = instance(&machine, 4);
    let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    machine.write(0, address(area), 5).expect("mapped");
    free(&vmalloc, area).expect("allocated");
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// An attempt that is not made again, with so much waiting for a flush that whoever frees would purge, though the thread
/// that purges never gets to. Seen failing (one purge) when a failed attempt relieves the pressure as a free does.
#[test]
fn a_request_that_does_not_wait_purges_nothing() {
    let machine = Machine::new(1, 400);
    let vmalloc = instance(&machine, 4);
    machine.starve_purger();
    let area = vmalloc.vmalloc(300 * PAGE_SIZE).expect("room");
    free(&vmalloc, area).expect("allocated");
    vmalloc.tunables().lazy_max_pages.store(1, Ordering::Relaxed);
    let purges = vmalloc.tally().purges;
    let made = vmalloc.allocate(Request::new(350 * PAGE_SIZE).no_wait());
    assert_eq!(made.map_err(AllocError::reason), Err(AllocError::NO_FRAMES));
    assert_eq!(vmalloc.tally().purges, purges, "it does not wait");
    assert!(vmalloc.lazy_pages() > 2, "what was freed waits on");
}

/// A bin tells of a block's longest run rounded down to a power of two.
///
/// Seen failing with blocks looked at only where their bin promises enough.
#[test]
fn a_gap_that_is_long_enough_is_found_whatever_its_length() {
    let machine = Machine::new(1, 4000);
    let vmalloc = instance(&machine, 1);
    let [_, gap, _] = [200, 100, 200].map(|pages| vmalloc.vmalloc(pages * PAGE_SIZE).expect("room"));
    free(&vmalloc, gap).expect("allocated");
    vmalloc.trim();
    for pages in (1..=100).rev() {
        let area =
            vmalloc.vmalloc(pages * PAGE_SIZE).unwrap_or_else(|error| panic!("{pages} pages: {error}"));
        free(&vmalloc, area).expect("allocated");
        vmalloc.trim();
    }
    assert!(vmalloc.vmalloc(101 * PAGE_SIZE).is_err(), "its guard page would be another's");
}

/// The address 1 is that of `NonNull::dangling`, which is no area's. Seen failing with what is noted of no block taken for a
/// block at 1.
#[test]
fn addresses_below_all_blocks_are_no_areas() {
    let machine = Machine::new(1, 500);
    let vmalloc = instance(&machine, 2);
    let frames = take(&machine, 1);
    for _ in 0..3 {
        for wrong in [1, 2, PAGE_SIZE, PAGE_SIZE + 1, BLOCK_SIZE, BLOCK_SIZE + 1] {
            let wrong = at(wrong);
            assert!(free(&vmalloc, wrong).is_err() && unmap(&vmalloc, wrong).is_err());
            assert!(unmap_ram(&vmalloc, wrong, 1).is_err() && resize(&vmalloc, wrong, 3).is_err());
        }
        // Once more where the CPU had blocks of its own, and forgot them.
        let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
        let mapped = map_ram(&vmalloc, &frames).expect("room");
        free(&vmalloc, area).expect("allocated");
        unmap_ram(&vmalloc, mapped, 1).expect("mapped");
        vmalloc.trim();
    }
}
