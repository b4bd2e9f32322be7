//! Lazy unmapping and purging on the simulated machine.

extern crate std;

use crate::{
    AllocError, BLOCK_PAGES, BLOCK_SIZE, Cache, FreeError, GatherPolicy, PAGE_SIZE, Platform, Policy,
    Protection, Request, Returned, Slack, Vmalloc,
    page_table::{Entry, directories},
    tests::{
        machine::{Machine, Moment, PageFault},
        support::{
            START, address, flushing, free, instance, leaked, map_ram, protect, take, unmap, unmap_ram,
        },
    },
};
use core::{panic::Location, ptr::NonNull};
use std::{
    boxed::Box,
    sync::atomic::{AtomicUsize, Ordering},
    vec::Vec,
};

/// A run of blocks for which only a purge, and closing the blocks it emptied, can free address space.
#[test]
fn an_allocation_that_does_not_fit_purges_and_closes_empty_blocks() {
    const BLOCKS: usize = 60;
    let machine = Machine::new(1, 40_000);
    let vmalloc = flushing(&machine, BLOCKS);
    // No purge before it is needed.
    vmalloc.tunables().lazy_max_pages.store(1 << 30, Ordering::Relaxed);
    let areas: Vec<_> =
        (0..BLOCKS * BLOCK_PAGES / 2).map(|_| vmalloc.vmalloc(PAGE_SIZE).expect("room")).collect();
    areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    assert_eq!(vmalloc.stats().lazy, BLOCKS * BLOCK_PAGES);
    assert_eq!(vmalloc.lazy_pages(), (BLOCKS * BLOCK_PAGES) as i64);
    // The first purge closes some blocks, and leaves some in their pool.
    vmalloc.tunables().lazy_max_pages.store(32 * BLOCK_PAGES, Ordering::Relaxed);
    let all = vmalloc.vmalloc((BLOCKS - 1) * BLOCK_SIZE - PAGE_SIZE).expect("all but the current block");
    free(&vmalloc, all).expect("allocated");
    vmalloc.purge();
    assert_eq!(vmalloc.lazy_pages(), 0);
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Frames cached in free pages are found when nobody else has any.
#[test]
fn an_allocation_without_frames_takes_those_that_wait_and_those_that_are_kept() {
    let machine = Machine::new(1, 1300);
    let vmalloc = instance(&machine, 16);
    let many = |pages: usize| vmalloc.vmalloc(pages * PAGE_SIZE);
    for _ in 0..5 {
        // The frames of small areas are cached, and so are those of runs.
        let areas: Vec<_> = core::iter::from_fn(|| many(200).ok()).collect();
        assert!(areas.len() >= 5, "{} areas of 200 pages in 1300 frames", areas.len());
        areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
        let run = many(1200).expect("all frames but those of tables and records");
        free(&vmalloc, run).expect("allocated");
    }
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Seen failing with a new protection written by a load and, some instructions later, a store: what `frame_at`
/// marked in between was lost.
#[test]
fn a_page_that_is_protected_and_looked_up_at_once_is_cleared_again() {
    let machine = Machine::new(1, 200);
    let vmalloc = instance(&machine, 4);
    for round in 0..200 {
        vmalloc.areas_room().pools.give_all_bumps();
        let zeroed = |_| vmalloc.allocate(Request::new(PAGE_SIZE).zeroed()).expect("room");
        let areas: Vec<_> = (0..64).map(zeroed).collect();
        let pages: Vec<_> = areas.iter().map(|&area| address(area)).collect();
        assert!(pages.iter().all(|&page| machine.read(0, page) == Ok(0)), "round {round}");
        let turn = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (index, &page) in pages.iter().enumerate() {
                    while turn.load(Ordering::Acquire) <= index {
                        core::hint::spin_loop();
                    }
                    // Sooner or later in the other call.
                    (0..(round * 64 + index) % 100).for_each(|_| core::hint::spin_loop());
                    vmalloc.frame_at(page).expect("mapped");
                }
            });
            for &page in &pages {
                turn.fetch_add(1, Ordering::Release);
                protect(&vmalloc, page, 1, Protection::ReadWrite).expect("allocated");
            }
        });
        // By the mapping that the other thread knows; the simulated CPU marks nothing.
        pages.iter().for_each(|&page| machine.write(0, page, 7).expect("mapped"));
        areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
        vmalloc.purge();
    }
}

#[test]
fn a_page_of_zeros_that_nobody_wrote_is_not_cleared_again() {
    let machine = Machine::new(1, 200);
    let vmalloc = instance(&machine, 4);
    let zeroed = || vmalloc.allocate(Request::new(PAGE_SIZE).zeroed()).expect("room");
    let mut place = None;
    for turn in 0..3 {
        // The whole block is free: the lowest page again.
        vmalloc.areas_room().pools.give_all_bumps();
        let area = zeroed();
        assert_eq!(*place.get_or_insert(address(area)), address(area));
        assert_eq!(machine.read(0, address(area)), Ok(0), "turn {turn}");
        if turn == 1 {
            // The simulated CPU marks no entry dirty: this stands for a write by the direct map.
            assert!(vmalloc.frame_at(address(area)).is_some());
            machine.write(0, address(area), 7).expect("mapped");
        }
        free(&vmalloc, area).expect("allocated");
        vmalloc.purge();
    }
    assert_eq!(vmalloc.stats().kept, 1);
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// A purge frees what interrupt handlers noted, and that may be far too much, before it takes what waits. Seen hanging
/// when it then waits for a purge.
#[test]
fn a_purge_does_not_wait_for_itself() {
    let machine = Machine::new(1, 9000);
    let vmalloc = instance(&machine, 40);
    vmalloc.tunables().lazy_max_pages.store(1000, Ordering::Relaxed);
    machine.starve_purger();
    for pages in [400, 20, 17 * BLOCK_PAGES / 4] {
        let count = 8000 / (pages + 1);
        let areas: Vec<_> = (0..count).map(|_| vmalloc.vmalloc(pages * PAGE_SIZE).expect("room")).collect();
        machine.set_interrupt(true);
        areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
        machine.set_interrupt(false);
        vmalloc.purge();
        assert_eq!(vmalloc.lazy_pages(), 0);
        vmalloc.trim();
    }
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// The interrupted code may hold any lock. The simulated one does: a second lock of the same
/// block would never be had.
#[test]
fn frees_in_interrupts_take_no_lock_and_are_done_by_the_next_purge() {
    let machine = Machine::new(2, 5000);
    let vmalloc = instance(&machine, 16);
    for request in [
        Request::new(3 * PAGE_SIZE).protection(Protection::ReadOnly),
        Request::new(700 * PAGE_SIZE),
        Request::new(2 * BLOCK_SIZE).huge(),
    ] {
        let areas = [0, 1, 0].map(|cpu| (cpu, vmalloc.allocate(request).expect("room")));
        for (cpu, area) in areas {
            machine.run_on(cpu);
            machine.set_interrupt(true);
            free(&vmalloc, area).expect("allocated");
            assert!(matches!(free(&vmalloc, area), Err(FreeError::NotAllocated { .. })), "freed twice");
            machine.set_interrupt(false);
            assert!(matches!(free(&vmalloc, area), Err(FreeError::NotAllocated { .. })), "freed twice");
            assert!(vmalloc.find_area(address(area)).is_none());
        }
        assert_eq!(vmalloc.areas().count(), 0);
        vmalloc.purge();
        machine.check();
        assert_eq!(vmalloc.stats().lazy, 0);
    }
    let mapped = vmalloc.ioremap(0xfee0_0000, 1, Cache::Uncached).expect("room");
    machine.set_interrupt(true);
    assert!(matches!(unmap(&vmalloc, mapped), Err(FreeError::InInterrupt { .. })));
    machine.set_interrupt(false);
    unmap(&vmalloc, mapped).expect("mapped");
    drop(vmalloc);
    machine.assert_all_frames_back();
}

#[test]
fn who_does_not_want_to_wait_is_refused_at_once() {
    let machine = Machine::new(1, 3000);
    let vmalloc = flushing(&machine, 2);
    vmalloc.tunables().lazy_max_pages.store(1 << 30, Ordering::Relaxed);
    let areas: Vec<_> = (0..2 * 256).map(|_| vmalloc.vmalloc(PAGE_SIZE).expect("room")).collect();
    areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    assert_eq!(
        vmalloc.allocate(Request::new(1).no_wait()).map_err(AllocError::reason),
        Err(AllocError::NO_SPACE)
    );
    let area = vmalloc.vmalloc(1).expect("a purge makes room");
    free(&vmalloc, area).expect("allocated");
}

/// Few pages in many places: each is flushed, though a purge remembers only some places.
///
/// Seen failing when a purge stopped to note places as soon as its list was full.
#[test]
fn pages_in_many_places_are_all_flushed() {
    for places in 1..=20 {
        let machine = Machine::new(2, 200);
        let vmalloc = instance(&machine, 2);
        let frames = take(&machine, 1);
        let starts: Vec<_> = (0..2 * places).map(|_| map_ram(&vmalloc, &frames).expect("room")).collect();
        for &start in starts.iter().step_by(2) {
            assert!([0, 1].iter().all(|&cpu| machine.read(cpu, address(start)).is_ok()));
            unmap_ram(&vmalloc, start, 1).expect("mapped");
        }
        assert_eq!(vmalloc.purge(), places);
        for &start in starts.iter().step_by(2) {
            for cpu in 0..2 {
                assert_eq!(machine.read(cpu, address(start)), Err(PageFault), "CPU {cpu}, {places} places");
            }
        }
        starts.iter().skip(1).step_by(2).for_each(|&start| unmap_ram(&vmalloc, start, 1).expect("mapped"));
        vmalloc.vm_unmap_aliases();
        Platform::give_frames(&&machine, Returned::new(frames.into_iter()));
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// A directory that a boot loader left empty is used and stays: nobody but the loader knows whose its frame is.
///
/// Seen failing with each directory given back in which nothing is mapped.
#[test]
fn directories_that_were_there_before_stay() {
    const GIB: usize = 1 << 30;
    let start = START.next_multiple_of(GIB);
    let machine = Machine::new(1, 300);
    let shared = &&machine;
    let [upper, lower] = [(); 2].map(|()| shared.take_table().expect("enough"));
    // SAFETY: tables, which the test alone changes.
    let slots = unsafe { [shared.root(), upper].map(|frame| directories::table(shared, frame)) };
    let links = [&slots[0][start >> 39 & 511], &slots[1][start >> 30 & 511]];
    links.iter().zip([upper, lower]).for_each(|(link, frame)| link.set(Entry::table(frame)));
    for _ in 0..2 {
        let vmalloc = instance(&machine, 2 * GIB / BLOCK_SIZE);
        let area = vmalloc.allocate(Request::new(PAGE_SIZE).within(start, start + GIB)).expect("room");
        machine.write(0, address(area), 1).expect("mapped");
        free(&vmalloc, area).expect("allocated");
        vmalloc.trim();
        assert_eq!(links.map(|link| link.get().frame()), [upper, lower]);
    }
    links.iter().for_each(|link| link.set_unused());
    [lower, upper].iter().for_each(|&frame| shared.give_table(Returned::new(frame)));
    machine.assert_all_frames_back();
}

/// Page tables go with what they mapped, whatever memory there is to write them down in. The
/// oracle sees a table that is given back before every CPU has flushed. Seen failing without the flush.
#[test]
fn directories_of_nothing_are_given_back() {
    const GIB: usize = 1 << 30;
    const DIRECTORIES: usize = 20;
    for gather in [GatherPolicy::Page, GatherPolicy::Stack, GatherPolicy::One] {
        for short in [false, true] {
            let machine = Machine::new(2, 300);
            let policy = Policy::default().slack(Slack::Ignored).gather(gather);
            let range = START..START + (DIRECTORIES + 2) * GIB;
            // SAFETY: the machine's address space has nothing else in it.
            let vmalloc = unsafe { Vmalloc::with_policy(&machine, range, policy) }.expect("frames enough");
            let before = vmalloc.stats().table_frames();
            let first = (START + GIB) & !(GIB - 1);
            let area = |directory: usize| {
                let start = first + directory * GIB;
                vmalloc.allocate(Request::new(PAGE_SIZE).within(start, start + GIB)).expect("room")
            };
            let areas: Vec<_> = (0..DIRECTORIES).map(area).collect();
            for &area in &areas {
                assert!([0, 1].iter().all(|&cpu| machine.read(cpu, address(area)).is_ok()));
            }
            // One stays, and with it its tables.
            let (kept, gone) = areas.split_first().expect("some");
            gone.iter().for_each(|&area| free(&vmalloc, area).expect("allocated"));
            if short {
                machine.fail_after(0);
            }
            vmalloc.purge();
            let flushes = machine.full_flushes();
            assert_eq!(vmalloc.reclaim().release_directories(Location::caller()), DIRECTORIES - 1);
            let at_once = match gather {
                GatherPolicy::Page if !short => 512,
                GatherPolicy::Page | GatherPolicy::Stack => 8,
                GatherPolicy::One => 1,
            };
            let rounds = (DIRECTORIES - 1).div_ceil(at_once);
            assert_eq!(machine.full_flushes() - flushes, 2 * rounds, "{gather:?} on two CPUs");
            machine.never_fail();
            machine.check();
            assert!(machine.read(1, address(*kept)).is_ok());
            assert_eq!(vmalloc.reclaim().release_directories(Location::caller()), 0);
            free(&vmalloc, *kept).expect("allocated");
            vmalloc.trim();
            assert_eq!(vmalloc.stats().table_frames(), before);
            // What was given back can be used again.
            let again = area(3);
            free(&vmalloc, again).expect("allocated");
            drop(vmalloc);
            machine.check();
            machine.assert_all_frames_back();
        }
    }
}

#[test]
fn what_waits_is_listed_until_it_is_flushed() {
    let machine = Machine::new(1, 9000);
    let vmalloc = flushing(&machine, 8);
    let areas = [3, 1, 700, 5].map(|pages| vmalloc.vmalloc(pages * PAGE_SIZE).expect("room"));
    let listed = || {
        let mut list = Vec::new();
        vmalloc.lazy_ranges(|range| list.push((range.start, range.len() / PAGE_SIZE)));
        list
    };
    assert_eq!(listed(), []);
    [0, 2, 3].iter().for_each(|&index| free(&vmalloc, areas[index]).expect("allocated"));
    // With their guard pages, and a run with all of its blocks.
    let (small, run) = (address(areas[0]), address(areas[2]));
    let blocks = [(run, BLOCK_PAGES), (run + BLOCK_SIZE, BLOCK_PAGES)];
    assert_eq!(listed(), [(small, 4), (address(areas[3]), 6), blocks[0], blocks[1]]);
    assert_eq!(listed().iter().map(|&(_, pages)| pages).sum::<usize>(), vmalloc.stats().lazy);
    vmalloc.purge();
    assert_eq!(listed(), []);
    free(&vmalloc, areas[1]).expect("allocated");
}

/// Frames that are never neighbours, in areas of a block, of more and of less. Seen failing when the last frame of a
/// block is passed over.
#[test]
fn no_frame_of_a_scattered_area_is_lost() {
    let machine = Machine::new(1, 4000);
    let mut frames = take(&machine, 3600);
    let (even, odd): (Vec<_>, Vec<_>) = frames.drain(..).partition(|frame| frame.number() % 2 == 0);
    (&machine).give_frames(Returned::new(even.into_iter()));
    let vmalloc = instance(&machine, 8);
    // Makes what stays: the directory, which reaches beyond the range, and the CPU's record.
    for pages in [1, 2 * BLOCK_PAGES] {
        let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
        free(&vmalloc, area).expect("allocated");
    }
    vmalloc.trim();
    let before = machine.free_frames();
    for pages in [1, 2, BLOCK_PAGES - 1, BLOCK_PAGES, BLOCK_PAGES + 1, 2 * BLOCK_PAGES - 1, 2 * BLOCK_PAGES] {
        let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
        assert!(machine.free_frames() <= before - pages);
        free(&vmalloc, area).expect("allocated");
        vmalloc.trim();
        assert_eq!(machine.free_frames(), before, "{pages} pages");
    }
    drop(vmalloc);
    (&machine).give_frames(Returned::new(odd.into_iter()));
    machine.assert_all_frames_back();
}

/// Others free more than may wait while an allocation has the turn, and nobody frees afterwards: who gives the turn sees
/// to it. Seen failing (1536 pages wait) when a free that finds the turn taken leaves it at that.
#[test]
fn what_is_freed_while_an_allocation_has_the_turn_is_purged() {
    let (machine, vmalloc) = leaked(2, 20_000, 40);
    vmalloc.tunables().lazy_max_pages.store(512, Ordering::Relaxed);
    machine.run_on(1);
    let page = || address(vmalloc.vmalloc(PAGE_SIZE).expect("room"));
    let mut areas: Vec<usize> = core::iter::repeat_with(page).take(768).collect();
    let kept = vmalloc.vmalloc(600 * PAGE_SIZE).expect("room");
    free(vmalloc, kept).expect("allocated");
    vmalloc.purge();
    machine.run_on(0);
    let freed = &*Box::leak(Box::new(AtomicUsize::new(0)));
    // What the cached run has is needed, so the attempt that has it is made with the turn.
    take(machine, machine.free_frames() - 20);
    machine.at_each(Moment::Table, move || {
        // The one attempt that is made again is made with the turn.
        if vmalloc.reclaim().tally().retries > 0 {
            machine.run_on(1);
            for area in areas.drain(..) {
                free(vmalloc, NonNull::new(area as *mut u8).expect("an address")).expect("allocated");
                freed.fetch_add(1, Ordering::Relaxed);
            }
            machine.run_on(0);
        }
    });
    vmalloc.vmalloc(300 * PAGE_SIZE).expect("a run was kept");
    assert_eq!(freed.load(Ordering::Relaxed), 768, "nobody else came by");
    assert!(vmalloc.lazy_pages() <= 512, "{} pages wait", vmalloc.lazy_pages());
}
