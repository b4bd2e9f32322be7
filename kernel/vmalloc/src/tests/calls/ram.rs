//! `vm_map_ram` and its relatives, on the simulated machine.

extern crate std;

use crate::{
    AllocError, BLOCK_PAGES, BLOCK_SIZE, Frame, FreeError, Kind, Owner, PAGE_SIZE, Platform, Protection,
    Returned, Vmalloc,
    tests::{
        machine::{Machine, PageFault, Random},
        support::{START, address, assert_marks, at, free, instance, map_ram, mark, take, unmap, unmap_ram},
    },
};
use core::ptr::NonNull;
use std::{sync::atomic::Ordering, vec::Vec};

/// Nothing is lost: neither frames, once the caller's are back, nor address space.
fn assert_balanced(machine: &Machine, vmalloc: Vmalloc<&Machine>, frames: Vec<Frame>) {
    vmalloc.vm_unmap_aliases();
    Platform::give_frames(&machine, Returned::new(frames.into_iter()));
    vmalloc.trim();
    let stats = vmalloc.stats();
    assert_eq!((stats.free, stats.lazy, vmalloc.lazy_pages()), (stats.total, 0, 0));
    drop(vmalloc);
    machine.check();
    machine.assert_all_frames_back();
}

#[test]
fn frames_are_mapped_in_their_order_until_they_are_unmapped_and_flushed() {
    for count in [1, 2, 63, 64, 65, 511, 512, 513, 1024] {
        let machine = Machine::new(2, 3000);
        let vmalloc = instance(&machine, 8);
        let mut frames = take(&machine, count);
        frames.reverse();
        let start = map_ram(&vmalloc, &frames).expect("room");
        mark(&machine, address(start), 0..count, 7);
        assert_marks(&machine, 1, address(start), 0..count, 7);
        for (page, &frame) in frames.iter().enumerate() {
            assert_eq!(vmalloc.frame_at(address(start) + page * PAGE_SIZE), Some(frame));
        }
        let area = vmalloc.find_area(address(start) + count / 2 * PAGE_SIZE).expect("mapped");
        assert_eq!((area.start, area.pages, area.kind), (address(start), count, Kind::VmMapRam));
        assert_eq!(vmalloc.areas().count(), 1);
        unmap_ram(&vmalloc, start, count).expect("mapped");
        assert_eq!(machine.read(1, address(start)), Ok(7), "unmapping alone flushes nothing");
        vmalloc.vm_unmap_aliases();
        for cpu in 0..2 {
            assert_eq!(machine.read(cpu, address(start)), Err(PageFault));
        }
        assert_balanced(&machine, vmalloc, frames);
    }
}

/// No page is lost to a guard, neither inside of a block nor between two.
#[test]
fn every_page_of_the_range_can_be_mapped() {
    const BLOCKS: usize = 4;
    let machine = Machine::new(1, 100);
    let vmalloc = instance(&machine, BLOCKS);
    let frames = take(&machine, 1);
    let starts: Vec<_> =
        (0..BLOCKS * BLOCK_PAGES).map(|_| map_ram(&vmalloc, &frames).expect("room")).collect();
    assert_eq!(map_ram(&vmalloc, &frames).map_err(AllocError::reason), Err(AllocError::NO_SPACE));
    let mut sorted: Vec<_> = starts.iter().map(|&start| address(start)).collect();
    sorted.sort_unstable();
    assert!(sorted.iter().copied().eq((START..START + BLOCKS * BLOCK_SIZE).step_by(PAGE_SIZE)));
    assert!(vmalloc.areas().map(|area| area.start).eq(sorted));
    // All of it is unmapped and nothing flushed: mapping purges.
    starts.into_iter().for_each(|start| unmap_ram(&vmalloc, start, 1).expect("mapped"));
    assert_eq!(vmalloc.lazy_pages(), (BLOCKS * BLOCK_PAGES) as i64);
    let start = map_ram(&vmalloc, &frames).expect("a purge makes room");
    unmap_ram(&vmalloc, start, 1).expect("mapped");
    assert_balanced(&machine, vmalloc, frames);
}

/// Linux waits until nothing of the block is in use. Seen not to end when a block did so here.
#[test]
fn pages_of_a_block_in_use_come_back_when_they_are_flushed() {
    let machine = Machine::new(1, 1000);
    let vmalloc = instance(&machine, 1);
    let frames = take(&machine, 128);
    let quarters: Vec<_> = (0..4).map(|_| map_ram(&vmalloc, &frames).expect("room")).collect();
    for &quarter in &quarters {
        unmap_ram(&vmalloc, quarter, 128).expect("mapped");
        assert_eq!(vmalloc.purge(), 128);
        assert_eq!(map_ram(&vmalloc, &frames), Ok(quarter), "the one hole");
    }
    quarters.into_iter().for_each(|start| unmap_ram(&vmalloc, start, 128).expect("mapped"));
    assert_balanced(&machine, vmalloc, frames);
}

/// Whatever is not one whole mapping is refused, by the name of who asked, and stays. Seen
/// failing when the second entry's part of the length is not looked at.
#[test]
fn wrong_unmaps_are_refused_and_change_nothing() {
    let machine = Machine::new(1, 3000);
    let vmalloc = instance(&machine, 8);
    let frames = take(&machine, 700);
    // One behind the other: lengths whose parts could be mistaken for those of others.
    let lengths = [1, 2, 64, 1, 66, 128, 2, 130];
    let starts = lengths.map(|length| map_ram(&vmalloc, &frames[..length]).expect("room"));
    let long = map_ram(&vmalloc, &frames[..600]).expect("room");
    let area = vmalloc.vmap(&frames[..3], Protection::ReadWrite).expect("room");
    let owned = vmalloc.vmalloc(3 * PAGE_SIZE).expect("room");
    let before = vmalloc.stats();
    for (start, length) in starts.into_iter().zip(lengths).chain([(long, 600)]) {
        for wrong in (0..=602).chain([1 << 40, usize::MAX]).filter(|&wrong| wrong != length) {
            match unmap_ram(&vmalloc, start, wrong) {
                Err(FreeError::WrongLength { pages, area, caller }) => {
                    assert_eq!((pages, area.pages, area.start), (wrong, length, address(start)));
                    assert!(caller.file().ends_with("tests/support.rs"), "{caller}");
                }
                other => panic!("{wrong} pages of {length}: {other:?}"),
            }
        }
        let inside = at(address(start) + PAGE_SIZE);
        if length > 1 {
            assert!(matches!(unmap_ram(&vmalloc, inside, 1), Err(FreeError::InsideArea { .. })));
        }
        let odd = at(address(start) + 8);
        assert!(matches!(unmap_ram(&vmalloc, odd, length), Err(FreeError::InsideArea { .. })));
        assert!(matches!(free(&vmalloc, start), Err(FreeError::WrongKind { .. })));
        assert!(matches!(unmap(&vmalloc, start), Err(FreeError::WrongKind { .. })));
    }
    for other in [area, owned] {
        assert!(matches!(unmap_ram(&vmalloc, other, 3), Err(FreeError::WrongKind { .. })));
    }
    let nothing = at(START + 7 * BLOCK_SIZE);
    assert!(matches!(unmap_ram(&vmalloc, nothing, 1), Err(FreeError::NotAllocated { .. })));
    assert!(matches!(unmap_ram(&vmalloc, at(PAGE_SIZE), 1), Err(FreeError::OutsideRange { .. })));
    machine.set_interrupt(true);
    assert!(matches!(unmap_ram(&vmalloc, starts[0], 1), Err(FreeError::InInterrupt { .. })));
    machine.set_interrupt(false);
    assert_eq!(map_ram(&vmalloc, &[]), Err(AllocError::NoFrames));
    assert_eq!(vmalloc.stats(), before);
    for (start, length) in starts.into_iter().zip(lengths).chain([(long, 600)]) {
        unmap_ram(&vmalloc, start, length).expect("still mapped");
        assert!(matches!(unmap_ram(&vmalloc, start, length), Err(FreeError::NotAllocated { .. })), "twice");
    }
    unmap(&vmalloc, area).expect("still mapped");
    free(&vmalloc, owned).expect("still allocated");
    assert_balanced(&machine, vmalloc, frames);
}

/// Pages whose last area owned its frames still have them: they are not lost when others' are shown there.
/// Seen failing when `has_frames` is not read.
#[test]
fn kept_frames_are_given_back_where_others_are_mapped() {
    let machine = Machine::new(1, 2000);
    let vmalloc = instance(&machine, 2);
    // Each kind has a block of its own, until address space is short.
    let frames = take(&machine, 1);
    let first = map_ram(&vmalloc, &frames).expect("room");
    let areas: Vec<_> = (0..256).map(|_| vmalloc.vmalloc(PAGE_SIZE).expect("room")).collect();
    areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    let many: Vec<_> = core::iter::from_fn(|| map_ram(&vmalloc, &frames).ok()).collect();
    assert_eq!(many.len(), 2 * BLOCK_PAGES - 1);
    many.into_iter().chain([first]).for_each(|start| unmap_ram(&vmalloc, start, 1).expect("mapped"));
    // And the other way round.
    let areas: Vec<_> = core::iter::from_fn(|| vmalloc.vmalloc(PAGE_SIZE).ok()).collect();
    assert_eq!(areas.len(), BLOCK_PAGES);
    areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    assert_balanced(&machine, vmalloc, frames);
}

/// A block that is entirely free is taken as a whole, but not if areas that owned their frames were freed there.
/// Seen failing when `take_block` does not read `has_frames`.
#[test]
fn a_block_with_cached_frames_is_not_taken_as_a_whole() {
    let machine = Machine::new(1, 20_000);
    let vmalloc = instance(&machine, 10);
    let pools = &vmalloc.areas_room().pools;
    for owner in [Owner::Caller, Owner::Area] {
        // Two blocks that mappings take as a whole become free.
        for _ in 0..2 {
            let run = pools.take(Owner::Caller, BLOCK_PAGES, 1).expect("room");
            let pin = vmalloc.platform().pin();
            let block = vmalloc.blocks().block(run.page / BLOCK_PAGES, &pin);
            vmalloc.pending().retire(&pin, block, 0, BLOCK_PAGES, owner).leave_to_caller();
        }
        vmalloc.purge();
        // One is the current one.
        let pin = vmalloc.platform().pin();
        let current = pools.take_near(&pin, Owner::Caller, BLOCK_PAGES, 1).expect("a free block");
        let taken = pools.take_block(&pin, Owner::Caller, 1);
        assert_eq!(taken.is_some(), owner == Owner::Caller, "{owner:?}");
        drop(pin);
        for run in [Some(current), taken].into_iter().flatten() {
            pools.give(run.page / BLOCK_PAGES, 0, BLOCK_PAGES);
        }
        vmalloc.trim();
    }
    assert_balanced(&machine, vmalloc, Vec::new());
}

/// A caller who may not wait has a CPU's magazine emptied, and the CPU takes it again: what was noted there is no more.
/// Seen failing ("something else than vmalloc mapped it") when what was unmapped last is not forgotten.
#[test]
fn a_magazine_that_was_emptied_notes_nothing_any_more() {
    let machine = Machine::new(1, 3000);
    let vmalloc = instance(&machine, 4);
    let frames = take(&machine, 2);
    let map_four = || -> Vec<_> { (0..4).map(|_| map_ram(&vmalloc, &frames).expect("room")).collect() };
    let mut mapped = map_four();
    let kept = mapped.pop().expect("four");
    mapped.into_iter().for_each(|start| unmap_ram(&vmalloc, start, 2).expect("mapped"));
    machine.refuse_grace(true);
    vmalloc.release_cpu(0);
    machine.refuse_grace(false);
    vmalloc.purge();
    let again = map_four();
    vmalloc.purge();
    let more = map_four();
    let mut starts: Vec<_> = [again, more].concat();
    starts.push(kept);
    starts.sort_unstable();
    starts.dedup();
    assert_eq!(starts.len(), 9, "live pages were mapped again");
    starts.into_iter().for_each(|start| unmap_ram(&vmalloc, start, 2).expect("mapped"));
    assert_balanced(&machine, vmalloc, frames);
}

/// The oracle watches: a CPU that could reach a page's frame after the page was mapped anew fails the test, and so does
/// a frame given back too early. Seen failing when `vm_unmap_aliases` does nothing.
#[test]
fn random_mappings_keep_showing_their_own_frames() {
    const CPUS: usize = 3;
    for seed in 1..=6 {
        let machine = Machine::new(CPUS, 4000);
        let vmalloc = instance(&machine, 10);
        let mut random = Random::new(seed);
        let frames = take(&machine, 700);
        for (number, &frame) in frames.iter().enumerate() {
            let start = map_ram(&vmalloc, &[frame]).expect("room");
            machine.write(0, address(start), number as u64).expect("mapped");
            unmap_ram(&vmalloc, start, 1).expect("mapped");
        }
        vmalloc.tunables().lazy_max_pages.store(1 + random.below(4000), Ordering::Relaxed);
        let mut live: Vec<(NonNull<u8>, usize, usize, bool)> = Vec::new();
        for _ in 0..3000 {
            machine.run_on(random.below(CPUS));
            if random.below(100) < 48 && !live.is_empty() {
                let (start, first, count, ram) = live.swap_remove(random.below(live.len()));
                for page in 0..count {
                    let cpu = random.below(CPUS);
                    let number = (first + page) as u64;
                    assert_eq!(machine.read(cpu, address(start) + page * PAGE_SIZE), Ok(number));
                }
                if ram { unmap_ram(&vmalloc, start, count) } else { unmap(&vmalloc, start) }.expect("mapped");
                continue;
            }
            let most = random.pick(&[1, 3, 90, 600]);
            let count = 1 + random.below(most);
            let first = random.below(700 - count + 1);
            let ram = random.below(4) > 0;
            let shown = &frames[first..first + count];
            let made =
                if ram { map_ram(&vmalloc, shown) } else { vmalloc.vmap(shown, Protection::ReadWrite) };
            let Ok(start) = made else { continue };
            live.push((start, first, count, ram));
        }
        machine.check();
        let mut known: Vec<_> = live.iter().map(|&(start, _, count, _)| (address(start), count)).collect();
        known.sort_unstable();
        assert!(vmalloc.areas().map(|area| (area.start, area.pages)).eq(known));
        for (start, _, count, ram) in live {
            if ram { unmap_ram(&vmalloc, start, count) } else { unmap(&vmalloc, start) }.expect("mapped");
        }
        assert_balanced(&machine, vmalloc, frames);
    }
}

/// Without anything that waits, nobody is disturbed.
#[test]
fn aliases_that_a_purge_flushed_are_not_flushed_again() {
    let machine = Machine::new(3, 100);
    let vmalloc = instance(&machine, 2);
    let frames = take(&machine, 40);
    let start = map_ram(&vmalloc, &frames).expect("room");
    unmap_ram(&vmalloc, start, 40).expect("mapped");
    vmalloc.purge();
    let flushes = (machine.page_flushes(), machine.full_flushes());
    assert_eq!(flushes, (0, 3), "40 pages are above the ceiling");
    vmalloc.vm_unmap_aliases();
    assert_eq!((machine.page_flushes(), machine.full_flushes()), flushes);
    assert_balanced(&machine, vmalloc, frames);
}

/// Every page of a block mapped, loaded by another CPU, and unmapped: no page of it is free meanwhile, and it is in
/// no bin. Seen failing when a purge passes over blocks without a free page.
#[test]
fn a_block_that_is_dirty_all_over_is_flushed() {
    let machine = Machine::new(2, 1000);
    let vmalloc = instance(&machine, 2);
    let frames = take(&machine, 1);
    let map = || map_ram(&vmalloc, &frames).expect("room");
    let pages: Vec<_> = (0..BLOCK_PAGES).map(|_| map()).collect();
    pages.iter().for_each(|&page| machine.write(1, address(page), 1).expect("mapped"));
    pages.iter().for_each(|&page| unmap_ram(&vmalloc, page, 1).expect("mapped"));
    vmalloc.vm_unmap_aliases();
    for page in pages {
        assert_eq!(machine.read(1, address(page)), Err(PageFault));
    }
    (&machine).give_frames(Returned::new(frames.into_iter()));
    machine.check();
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// A CPU maps in a block that another CPU empties, purges and gives back at every point in between. Seen failing
/// when the pages of a bump run stay with their CPU then.
#[test]
fn a_block_is_not_given_back_under_a_cpu_that_maps_in_it() {
    for trims in 0..8_u32 {
        let machine = Machine::new(2, 1000);
        let vmalloc = instance(&machine, 2);
        let frames = take(&machine, 3);
        let trim = |turn: u32| {
            if trims >> turn & 1 != 0 {
                machine.run_on(1);
                vmalloc.trim();
                vmalloc.purge();
                machine.check();
                machine.run_on(0);
            }
        };
        for length in [1, 3] {
            let start = map_ram(&vmalloc, &frames[..length]).expect("room");
            trim(0);
            let other = map_ram(&vmalloc, &frames[..1]).expect("room");
            machine.write(0, address(start), 5).expect("mapped");
            assert_eq!(machine.read(1, address(other)), Ok(5), "the same frame");
            unmap_ram(&vmalloc, start, length).expect("mapped");
            trim(1);
            assert_eq!(machine.read(0, address(other)), Ok(5));
            unmap_ram(&vmalloc, other, 1).expect("mapped");
            trim(2);
            machine.check();
        }
        vmalloc.trim();
        assert_eq!(vmalloc.stats().leaf_tables, 0, "{trims}");
        (&machine).give_frames(Returned::new(frames.into_iter()));
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// It has no guard page. Seen failing, as too large, with room for one asked for.
#[test]
fn a_range_of_one_block_has_room_for_512_frames() {
    let machine = Machine::new(1, 1000);
    let vmalloc = instance(&machine, 1);
    let frames = take(&machine, BLOCK_PAGES);
    for _ in 0..2 {
        let start = map_ram(&vmalloc, &frames).expect("room");
        assert_eq!(map_ram(&vmalloc, &frames).map_err(AllocError::reason), Err(AllocError::NO_SPACE));
        unmap_ram(&vmalloc, start, BLOCK_PAGES).expect("mapped");
    }
    let too_large = Err(AllocError::TooLarge { size: BLOCK_SIZE });
    assert_eq!(vmalloc.vmap(&frames, Protection::ReadWrite), too_large);
    assert_balanced(&machine, vmalloc, frames);
}

/// A range that ends where addresses do, but for 2 MiB.
#[test]
fn the_end_of_the_address_space_is_an_end() {
    let machine = Machine::new(1, 3000);
    let end = 0usize.wrapping_sub(BLOCK_SIZE);
    // SAFETY: the machine's address space has nothing else in it.
    let vmalloc = unsafe { Vmalloc::new(&machine, end - 2 * BLOCK_SIZE..end) }.expect("frames enough");
    let frames = take(&machine, BLOCK_PAGES);
    let second = map_ram(&vmalloc, &frames).expect("room");
    // The last block, in two parts, so that the CPU has had all of it at hand.
    let first = map_ram(&vmalloc, &frames[..1]).expect("room");
    let rest = map_ram(&vmalloc, &frames[1..]).expect("room");
    for length in [1, 2, BLOCK_PAGES] {
        assert_eq!(
            map_ram(&vmalloc, &frames[..length]).map_err(AllocError::reason),
            Err(AllocError::NO_SPACE)
        );
    }
    assert!(unmap_ram(&vmalloc, at(end), BLOCK_PAGES).is_err());
    for (mapping, length) in [(first, 1), (rest, BLOCK_PAGES - 1), (second, BLOCK_PAGES)] {
        unmap_ram(&vmalloc, mapping, length).expect("mapped");
    }
    vmalloc.vm_unmap_aliases();
    (&machine).give_frames(Returned::new(frames.into_iter()));
    drop(vmalloc);
    machine.assert_all_frames_back();
}
