//! What an instance tells of itself: counts, ranges, texts. Found missing by changes of the code that no test saw.

extern crate std;

use super::{
    machine::{Machine, PageFault},
    support::{START, address, flushing, free, instance, map_ram, policy, take, unmap_ram},
};
use crate::{
    BLOCK_PAGES, BLOCK_SIZE, Birth, CongruentArea, CpuSet, Event, Freed, Kind, PAGE_SIZE, Platform, Request,
    Returned, Reuse, Vmalloc,
};
use core::{ops::Range, panic::Location};
use std::{format, string::ToString, vec::Vec};

/// Small areas with their guard pages, runs of blocks with theirs, and both beside each other. Seen failing with runs that
/// are not told, and with runs that end elsewhere.
#[test]
fn what_waits_for_a_flush_is_told_by_its_addresses() {
    let machine = Machine::new(2, 4000);
    let vmalloc = flushing(&machine, 16);
    let waiting = || {
        let mut ranges = Vec::new();
        vmalloc.lazy_ranges(|range| ranges.push(range));
        ranges
    };
    let pages = |start: usize, pages: usize| start..start + pages * PAGE_SIZE;
    let areas: Vec<_> = (0..3).map(|_| vmalloc.vmalloc(3 * PAGE_SIZE).expect("room")).collect();
    let long = vmalloc.vmalloc(2 * BLOCK_SIZE + PAGE_SIZE).expect("room");
    assert_eq!(waiting(), []);
    free(&vmalloc, areas[1]).expect("allocated");
    assert_eq!(waiting(), [pages(address(areas[1]), 4)]);
    free(&vmalloc, long).expect("allocated");
    assert_eq!(waiting(), [pages(address(areas[1]), 4), address(long)..address(long) + 3 * BLOCK_SIZE]);
    free(&vmalloc, areas[0]).expect("allocated");
    assert_eq!(waiting()[0], pages(address(areas[0]), 8), "side by side they are one range");
    let sum: usize = waiting().iter().map(Range::len).sum();
    assert_eq!(i64::try_from(sum / PAGE_SIZE), Ok(vmalloc.lazy_pages()));
    vmalloc.vm_unmap_aliases();
    assert_eq!(waiting(), []);
    free(&vmalloc, areas[2]).expect("allocated");
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Each frame that the machine lacks is an area's, or counted as what it is. Seen failing with other sums of the frames that
/// the instance, its arena and what is remembered have.
#[test]
fn each_frame_that_an_instance_has_is_counted() {
    let machine = Machine::new(2, 6000);
    let before = machine.free_frames();
    let vmalloc = flushing(&machine, 64);
    let made = vmalloc.stats();
    let missing = before - machine.free_frames();
    assert_eq!(made.metadata_frames + made.instance_frames + made.directories, missing, "{made:?}");
    assert!(made.instance_frames > 0 && made.instance_bytes > 0);
    let areas = [5 * PAGE_SIZE, 3 * BLOCK_SIZE, PAGE_SIZE].map(|size| vmalloc.vmalloc(size).expect("room"));
    vmalloc.set_remembered(1000);
    let stats = vmalloc.stats();
    let of_areas: usize = vmalloc.areas().map(|area| area.pages).sum();
    let own = stats.metadata_frames + stats.instance_frames + stats.directories;
    let tables = stats.leaf_tables + stats.reserved_tables;
    assert_eq!(own + tables + stats.kept + of_areas, before - machine.free_frames(), "{stats:?}");
    let bytes = (stats.metadata_frames + stats.instance_frames) * PAGE_SIZE;
    assert_eq!(stats.metadata_bytes() - bytes, size_of_val(&vmalloc));
    areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Seen failing with either answer alone.
#[test]
fn whether_an_instance_is_traced_is_told() {
    let machine = Machine::new(1, 500);
    let vmalloc = instance(&machine, 4);
    for on in [false, true, false] {
        vmalloc.set_trace(on);
        assert_eq!(vmalloc.is_traced(), on);
    }
}

/// Seen failing with a range told as its first CPU.
#[test]
fn sets_of_cpus_are_told_as_they_are_read() {
    assert_eq!(CpuSet::EMPTY.to_string(), "");
    for list in ["0", "0-1", "2-5,7", "0,2,4-6,510-511"] {
        let set = CpuSet::parse(list, 512).expect("a list");
        assert_eq!(set.to_string(), list);
    }
    let set = CpuSet::parse("2-5,63,64", 512).expect("a list");
    assert_eq!(set.bits(), 1 << 63 | 0b11_1100, "CPU 64 has no bit");
    assert_eq!(CpuSet::from_bits(set.bits()).to_string(), "2-5,63");
}

/// Seen failing with a name that ends elsewhere, and with an age that is not known.
#[test]
fn a_freed_area_is_told_with_what_is_known() {
    let mut freed = Freed {
        start: START,
        pages: 2,
        requested: 5000,
        kind: Kind::Vmalloc,
        allocated_by: None,
        freed_by: Location::caller(),
        cpu: 3,
        thread: [0; 16],
        age: 0,
    };
    let place = Location::caller();
    let line = freed.freed_by.line();
    let (file, column) = (place.file(), freed.freed_by.column());
    let begin = std::format!("5000 bytes of vmalloc at {START:#x}, freed by {file}:{line}:{column} on CPU 3");
    assert_eq!(freed.to_string(), begin);
    freed.thread[..6].copy_from_slice(b"worker");
    assert_eq!(freed.to_string(), begin.clone() + " in the thread worker");
    freed.thread = *b"a-name-of-16-let";
    let named = begin + " in the thread a-name-of-16-let";
    for (age, told) in [
        (999_999, "999 us"),
        (1_000_000, "1 ms"),
        (9_999_999_999, "9999 ms"),
        (10_000_000_000, "10 s"),
        (1, "0 us"),
    ] {
        freed.age = age;
        assert_eq!(freed.to_string(), std::format!("{named}, {told} ago"));
    }
}

/// Who freed an area is told with its CPU, whatever else stands beside it. Seen failing with fewer bits of the CPU's number.
#[test]
fn a_freed_area_tells_on_which_cpu() {
    let machine = Machine::new(8, 2000);
    let vmalloc = instance(&machine, 4);
    assert!(vmalloc.set_remembered(100));
    for cpu in 0..8 {
        machine.run_on(cpu);
        for (size, pages) in [(1, 1), (2 * PAGE_SIZE, 2), (5 * PAGE_SIZE + 1, 6)] {
            let area = vmalloc.vmalloc(size).expect("room");
            free(&vmalloc, area).expect("allocated");
            let was = vmalloc.whatis(address(area)).was.expect("remembered");
            assert_eq!((was.cpu, was.pages, was.requested), (cpu, pages, size));
        }
    }
    assert!(vmalloc.base().is_watched());
    assert!(vmalloc.set_remembered(0));
    assert!(!vmalloc.base().is_watched(), "nobody remembers");
}

/// Seen failing with each sum of fewer, with texts without a word of it.
#[test]
fn tables_are_told_in_all_and_values_by_name() {
    let machine = Machine::new(1, 12_000);
    let vmalloc = instance(&machine, 40);
    let area = vmalloc.vmalloc(17 * BLOCK_SIZE).expect("room");
    free(&vmalloc, area).expect("allocated");
    vmalloc.purge();
    let small = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    let stats = vmalloc.stats();
    assert!(stats.leaf_tables > 0 && stats.reserved_tables > 0 && stats.directories > 0, "{stats:?}");
    assert_eq!(stats.table_frames(), stats.leaf_tables + stats.reserved_tables + stats.directories);
    let info = vmalloc.find_area(address(small)).expect("allocated");
    let huge = vmalloc.allocate(Request::new(BLOCK_SIZE).huge()).expect("room");
    let shown = vmalloc.find_area(address(huge)).expect("allocated");
    assert!(shown.to_string().ends_with(" huge=1"), "{shown}");
    assert!(!info.to_string().contains("huge"), "{info}");
    let place = format!("{:?}", Request::new(1).within(START, START + BLOCK_SIZE));
    let set = vmalloc.allocate_congruent(&[CongruentArea { offset: 0, size: 1 }], 1).expect("room");
    for (text, words) in [
        (format!("{info:?}"), "AreaInfo { start: 0x"),
        (format!("{:?}", info.made.expect("it tells")), "0"),
        (format!("{:?}", Event::Flush { pages: None, caller: Location::caller() }), "flush all"),
        (format!("{set:?}"), "CongruentSet(0x"),
        (place, "within 0x"),
        (format!("{:?}", Platform::shootdown(&&machine)), "Shootdown { online: "),
    ] {
        assert!(text.contains(words), "{text}");
    }
    assert!(machine.map_missing(START + 30 * BLOCK_SIZE));
    let foreign = vmalloc.find_foreign().expect("it is there");
    assert!(format!("{foreign:?}").contains("something else than vmalloc"), "{foreign:?}");
    core::mem::forget(vmalloc);
}

/// Areas of one caller that lie side by side are told together. Seen failing with guard pages that part them.
#[test]
fn areas_side_by_side_are_told_at_once() {
    let machine = Machine::new(1, 500);
    let vmalloc = instance(&machine, 4);
    let areas: Vec<_> = (0..5).map(|_| vmalloc.vmalloc(3 * PAGE_SIZE).expect("room")).collect();
    let mut told = Vec::new();
    vmalloc.for_each_area(|summary| told.push((summary.areas, summary.pages)));
    assert_eq!(told, [(5, 15)]);
    areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
}

/// What lies beside an address is told from as far as a block away. Seen failing with what lies side by side with it alone.
#[test]
fn neighbours_are_told_from_afar() {
    let machine = Machine::new(1, 2000);
    let vmalloc = flushing(&machine, 8);
    let [low, middle, high] = [1, 200, 2].map(|pages| vmalloc.vmalloc(pages * PAGE_SIZE).expect("room"));
    free(&vmalloc, middle).expect("allocated");
    vmalloc.purge();
    for inside in [0, 1, 100 * PAGE_SIZE, 150 * PAGE_SIZE + 4095] {
        let told = vmalloc.whatis(address(middle) + inside);
        let beside = [told.below, told.above].map(|area| area.map(|area| area.start));
        assert_eq!(beside, [Some(address(low)), Some(address(high))], "{inside} bytes behind the start");
    }
    [low, high].into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
}

/// Seen failing with the default told.
#[test]
fn whether_what_is_freed_is_used_again_is_told() {
    let machine = Machine::new(1, 500);
    let vmalloc = instance(&machine, 4);
    for reuse in [Reuse::AfterFlush, Reuse::Hot, Reuse::AfterFlush] {
        vmalloc.set_reuse(reuse);
        assert_eq!(vmalloc.reuse(), reuse);
    }
}

/// Areas tell of the time at which they were made or resized. Seen failing with a clock that stands still.
#[test]
fn areas_tell_when_they_were_made() {
    let machine = Machine::new(1, 500);
    let vmalloc = instance(&machine, 4);
    let made = |area| {
        let area = vmalloc.find_area(address(area)).expect("allocated");
        area.made.map(Birth::milliseconds)
    };
    let first = vmalloc.vmalloc(PAGE_SIZE).expect("room");
    vmalloc.set_clock(900);
    let second = vmalloc.vmalloc(5 * PAGE_SIZE).expect("room");
    vmalloc.set_clock(1 << 20);
    assert_eq!((made(first), made(second)), (Some(0), Some(900)));
    // SAFETY: simulated memory.
    let second = unsafe { vmalloc.vrealloc(second, PAGE_SIZE) }.expect("less");
    assert_eq!(made(second), Some(1 << 20));
}

/// An instance over a machine that is lent is as one over the machine: it interrupts other CPUs, or broadcasts.
#[test]
fn a_machine_may_be_lent() {
    for broadcasts in [false, true] {
        let machine = if broadcasts { Machine::broadcasting(2, 2000) } else { Machine::new(2, 2000) };
        let lent = &&machine;
        let flushing = policy().reuse(Reuse::AfterFlush);
        // SAFETY: the machine's address space has nothing else in it.
        let made = unsafe { Vmalloc::with_policy(lent, START..START + 4 * BLOCK_SIZE, flushing) };
        let vmalloc = made.expect("frames enough");
        vmalloc.set_trace(true);
        let area = vmalloc.vmalloc(PAGE_SIZE).expect("room");
        assert!(!machine.take_events().is_empty());
        machine.read(1, address(area)).expect("mapped");
        let before = machine.interrupts() + machine.broadcasts().0;
        // SAFETY: simulated memory, which is used no more but to see it fault.
        unsafe { vmalloc.vfree(area) }.expect("allocated");
        vmalloc.vm_unmap_aliases();
        assert!(machine.interrupts() + machine.broadcasts().0 > before);
        assert_eq!(machine.interrupts() == 0, broadcasts);
        assert_eq!(machine.read(1, address(area)), Err(PageFault));
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// In a range without areas, behind areas, and where a cached run is longer than what is free beside it.
///
/// Seen failing with either run counted in another way than by the pages of its blocks.
#[test]
fn the_longest_free_run_is_told_in_pages() {
    let machine = Machine::new(1, 20_000);
    let vmalloc = instance(&machine, 8);
    let longest = || vmalloc.stats().largest_free_run;
    assert_eq!(longest(), 8 * BLOCK_PAGES);
    let [low, middle, high] = [1, 3, 3].map(|blocks| {
        let request = Request::new(blocks * BLOCK_SIZE - PAGE_SIZE);
        vmalloc.allocate(request).expect("room")
    });
    assert_eq!(longest(), BLOCK_PAGES);
    free(&vmalloc, middle).expect("allocated");
    vmalloc.purge();
    assert_eq!(vmalloc.areas_room().cached_blocks(), 3);
    assert_eq!(longest(), 3 * BLOCK_PAGES);
    [low, high].into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Frames that wait for a flush are counted, those of 2 MiB pages too. Seen failing with these left out.
#[test]
fn frames_of_2_mib_pages_that_wait_are_counted() {
    let machine = Machine::new(1, 8 * BLOCK_PAGES);
    let vmalloc = instance(&machine, 8);
    let area = vmalloc.allocate(Request::new(2 * BLOCK_SIZE + PAGE_SIZE).huge()).expect("room");
    assert_eq!(vmalloc.find_area(address(area)).expect("allocated").huge_pages, 2 * BLOCK_PAGES);
    free(&vmalloc, area).expect("allocated");
    assert_eq!(vmalloc.stats().quarantined, 2 * BLOCK_PAGES + 1);
    vmalloc.purge();
    assert_eq!(vmalloc.stats().quarantined, 0);
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// What `vm_map_ram` maps has no guard page: its neighbours may be one page away. Seen failing with an address taken for one
/// in the page below.
#[test]
fn neighbours_are_told_from_the_next_page() {
    let machine = Machine::new(1, 2000);
    let vmalloc = flushing(&machine, 8);
    let frame = take(&machine, 1);
    let mapped: Vec<_> = (0..6).map(|_| map_ram(&vmalloc, &frame).expect("room")).collect();
    for [low, middle, high] in [[0, 1, 2], [3, 4, 5]].map(|three| three.map(|index| mapped[index])) {
        assert_eq!(address(high) - address(low), 2 * PAGE_SIZE, "side by side");
        unmap_ram(&vmalloc, middle, 1).expect("mapped");
        for inside in [0, 1, 100, 4095] {
            let told = vmalloc.whatis(address(middle) + inside);
            let beside = [told.below, told.above].map(|area| area.map(|area| area.start));
            assert_eq!(beside, [Some(address(low)), Some(address(high))], "{inside} bytes behind the start");
        }
        [low, high].into_iter().for_each(|area| unmap_ram(&vmalloc, area, 1).expect("mapped"));
    }
    vmalloc.vm_unmap_aliases();
    (&machine).give_frames(Returned::new(frame.into_iter()));
    drop(vmalloc);
    machine.assert_all_frames_back();
}
