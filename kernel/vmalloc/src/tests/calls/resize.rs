//! Areas that shrink and grow where they are, on the simulated machine.

extern crate std;

use crate::{
    BLOCK_PAGES, BLOCK_SIZE, PAGE_SIZE, Protection, Request, Vmalloc,
    page_table::directories,
    tests::{
        machine::{Machine, PageFault, Random},
        support::{START, address, assert_marks, flushing, free, instance, mark, protect, resize},
    },
};
use core::ptr::NonNull;
use std::vec::Vec;

/// Has both CPUs load the translations of an area's pages.
fn load(machine: &Machine, area: NonNull<u8>, pages: usize) {
    mark(machine, address(area), 0..pages, 7);
    assert_marks(machine, 1, address(area), 0..pages, 7);
}

/// The page of the new guard waits in the entry of the old one, another address. Seen failing when a purge
/// flushes only the pages that are dirty.
#[test]
fn what_is_cut_off_is_flushed_later_and_its_guard_with_it() {
    for purges in 0..8_u32 {
        let machine = Machine::new(2, 200);
        let vmalloc = instance(&machine, 2);
        let area = vmalloc.vmalloc(9 * PAGE_SIZE).expect("room");
        load(&machine, area, 9);
        for (step, pages) in [6, 5, 1].into_iter().enumerate() {
            let flushes = (machine.page_flushes(), machine.full_flushes());
            assert_eq!(resize(&vmalloc, area, pages).ok(), Some(area));
            assert_eq!(
                (machine.page_flushes(), machine.full_flushes()),
                flushes,
                "nothing is flushed for it"
            );
            let found = vmalloc.find_area(address(area)).expect("allocated");
            assert_eq!((found.pages, found.requested), (pages, pages * PAGE_SIZE));
            if purges >> step & 1 != 0 {
                vmalloc.purge();
            }
        }
        vmalloc.purge();
        assert_eq!(machine.full_flushes(), 0, "few pages are flushed one by one");
        for cpu in 0..2 {
            assert_marks(&machine, cpu, address(area), 0..1, 7);
            for page in 1..=9 {
                assert_eq!(
                    machine.read(cpu, address(area) + page * PAGE_SIZE),
                    Err(PageFault),
                    "page {page}"
                );
            }
        }
        free(&vmalloc, area).expect("allocated");
        machine.check();
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// What a run loses is flushed at once: these pages, and no others. Seen failing with a range that began at the area's start.
#[test]
fn a_run_that_shrinks_flushes_what_it_loses() {
    let machine = Machine::new(2, 2000);
    let vmalloc = instance(&machine, 8);
    let area = vmalloc.vmalloc(600 * PAGE_SIZE).expect("room");
    load(&machine, area, 600);
    let before = (machine.page_flushes(), machine.full_flushes());
    assert_eq!(resize(&vmalloc, area, 597).ok(), Some(area));
    assert_eq!((machine.page_flushes(), machine.full_flushes()), (before.0 + 2 * 3, before.1));
    free(&vmalloc, area).expect("allocated");
    machine.check();
}

/// A run that grows or shrinks inside its last block stays where it is, and the area behind it is left alone.
///
/// Seen failing with blocks that are taken, and with blocks that are freed, where there are none.
#[test]
fn a_run_that_keeps_its_blocks_stays_where_it_is() {
    let machine = Machine::new(2, 4000);
    let vmalloc = instance(&machine, 8);
    let [run, behind] = [(); 2].map(|()| vmalloc.vmalloc(600 * PAGE_SIZE).expect("room"));
    assert_eq!(address(behind), address(run) + 2 * BLOCK_SIZE);
    load(&machine, behind, 600);
    for pages in [700, 1023, 650, 600, 513] {
        assert_eq!(resize(&vmalloc, run, pages).ok(), Some(run));
        vmalloc.purge();
        assert_marks(&machine, 0, address(behind), 0..600, 7);
        let found = vmalloc.find_area(address(behind)).expect("it is allocated still");
        assert_eq!((found.start, found.pages), (address(behind), 600));
    }
    [run, behind].into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    vmalloc.trim();
    assert_eq!(vmalloc.stats().free, vmalloc.stats().total);
    drop(vmalloc);
    machine.assert_all_frames_back();
}

#[test]
fn an_area_that_grows_again_has_its_frames_again_after_a_purge() {
    let machine = Machine::new(2, 200);
    let vmalloc = instance(&machine, 2);
    let area = vmalloc.vmalloc(5 * PAGE_SIZE).expect("room");
    load(&machine, area, 5);
    assert_eq!(resize(&vmalloc, area, 2).ok(), Some(area));
    vmalloc.purge();
    let held = machine.free_frames();
    assert_eq!(resize(&vmalloc, area, 5).ok(), Some(area));
    assert_eq!(machine.free_frames(), held, "the pages had kept them");
    assert_marks(&machine, 0, address(area), 0..2, 7);
    load(&machine, area, 5);
    machine.check();
    free(&vmalloc, area).expect("allocated");
}

/// Sizes, frees and purges at random, on two CPUs that never forget a translation by themselves.
#[test]
fn areas_keep_their_contents_whatever_grows_and_shrinks_beside_them() {
    for seed in 0..60 {
        let machine = Machine::new(2, 3000);
        let vmalloc = flushing(&machine, 4);
        let mut random = Random::new(seed);
        let mut areas: Vec<(NonNull<u8>, usize, usize)> = Vec::new();
        for serial in 0..400 {
            machine.run_on(random.below(2));
            match random.below(8) {
                0 | 1 if areas.len() < 60 => {
                    let pages = 1 + random.below(20);
                    let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
                    mark(&machine, address(area), 0..pages, serial << 9);
                    areas.push((area, pages, serial << 9));
                }
                2 if !areas.is_empty() => {
                    let (area, ..) = areas.swap_remove(random.below(areas.len()));
                    free(&vmalloc, area).expect("allocated");
                }
                3 if random.below(4) == 0 => {
                    vmalloc.purge();
                    assert_gone(&machine, &vmalloc, &areas);
                }
                _ if !areas.is_empty() => {
                    let index = random.below(areas.len());
                    let (area, old, base) = areas[index];
                    let new = 1 + random.below(24);
                    let now = resize(&vmalloc, area, new).expect("room");
                    mark(&machine, address(now), old.min(new)..new, base);
                    areas[index] = (now, new, base);
                }
                _ => {}
            }
            machine.check();
            for &(area, pages, base) in &areas {
                assert_marks(&machine, random.below(2), address(area), 0..pages, base);
            }
        }
        areas.into_iter().for_each(|(area, ..)| free(&vmalloc, area).expect("allocated"));
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// No CPU reaches anything but what is allocated.
fn assert_gone(machine: &Machine, vmalloc: &Vmalloc<&Machine>, areas: &[(NonNull<u8>, usize, usize)]) {
    for page in vmalloc.range().clone().step_by(PAGE_SIZE) {
        let live = areas
            .iter()
            .any(|&(area, pages, _)| (address(area)..address(area) + pages * PAGE_SIZE).contains(&page));
        if !live {
            for cpu in 0..2 {
                assert_eq!(machine.read(cpu, page), Err(PageFault), "page {page:#x}");
            }
        }
    }
}

/// An area that was cut, and moves before a purge, leaves its guard's page to others. Seen failing when who
/// moves it flushes its pages alone.
#[test]
fn a_guard_where_a_page_was_is_flushed_when_the_area_moves() {
    let machine = Machine::new(2, 3000);
    let vmalloc = instance(&machine, 4);
    let area = vmalloc.vmalloc(3 * PAGE_SIZE).expect("room");
    load(&machine, area, 3);
    assert_eq!(resize(&vmalloc, area, 1).ok(), Some(area));
    let moved = resize(&vmalloc, area, 9).expect("room");
    assert_ne!(moved, area, "what was cut off waits for a flush");
    for cpu in 0..2 {
        for page in 0..2 {
            assert_eq!(machine.read(cpu, address(area) + page * PAGE_SIZE), Err(PageFault), "page {page}");
        }
    }
    machine.check();
    free(&vmalloc, moved).expect("allocated");
}

/// Growth takes pages of a block that the pool believes to be there. Seen failing when the allocation asked
/// other pools next, not the arena.
#[test]
fn a_block_whose_room_an_area_grew_into_fails_nobody() {
    let machine = Machine::new(1, 3000);
    let vmalloc = instance(&machine, 8);
    let allocate = |pages: usize| vmalloc.allocate(Request::new(pages * PAGE_SIZE).no_wait());
    let filler = allocate(BLOCK_PAGES - 103).expect("room");
    let last = allocate(1).expect("room");
    let other = allocate(BLOCK_PAGES - 2).expect("a block of its own");
    // The first block has a run of 100 pages left; the second is full but for a page.
    assert_eq!(resize(&vmalloc, last, 60).ok(), Some(last));
    let area = allocate(63).expect("free blocks are left");
    [filler, last, other, area].into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
}

/// Whether a mapped page may be written, and executed.
fn rights(machine: &Machine, address: usize) -> (bool, bool) {
    let link = directories::block_entry(&machine, address).expect("its directories are there");
    let entry = match link.get() {
        huge if huge.is_huge() => huge,
        link => {
            // SAFETY: the link of a leaf table of an area that stays.
            let leaf = unsafe { directories::table(&machine, link.frame()) };
            leaf[address / PAGE_SIZE % BLOCK_PAGES].get()
        }
    };
    assert!(entry.is_present() && entry.is_owned());
    (entry.0 & 1 << 1 != 0, entry.0 >> 63 == 0)
}

/// Where an area stays, where its run grows, where it moves, from each form to each. Seen failing with what is new
/// mapped read and written in any of the three places.
#[test]
fn what_is_new_is_protected_as_the_last_page_was() {
    for (old, new, blocked, huge) in [
        (2, 5, false, false),
        (2, 30, true, false),
        (3, 600, true, false),
        (300, 500, false, false),
        (600, 700, false, false),
        (600, 1600, false, false),
        (600, 1600, true, false),
        (1024, 1030, false, true),
        (1024, 2000, true, true),
    ] {
        for last in [Protection::ReadWrite, Protection::ReadOnly, Protection::ReadExecute] {
            for first in [Protection::ReadWrite, Protection::ReadOnly, last] {
                let machine = Machine::new(1, 14 * BLOCK_PAGES);
                let vmalloc = instance(&machine, 24);
                let request = Request::new(old * PAGE_SIZE).protection(last);
                let area = vmalloc.allocate(if huge { request.huge() } else { request }).expect("room");
                protect(&vmalloc, address(area), 1, first).expect("inside");
                let block = |pages: usize| vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
                let blockers: Vec<_> = [1, 300].into_iter().filter(|_| blocked).map(block).collect();
                let before = |page| rights(&machine, address(area) + page * PAGE_SIZE);
                let (of_first, of_last) = (before(0), before(old - 1));
                let grown = resize(&vmalloc, area, new).expect("room");
                assert!(!blocked || grown != area);
                for page in 0..new {
                    let expected = if page == 0 { of_first } else { of_last };
                    let now = rights(&machine, address(grown) + page * PAGE_SIZE);
                    assert_eq!(now, expected, "page {page}, {old} to {new}, {first:?}, {last:?}");
                }
                // Cut, and grown again: the frames cached there had the protection before.
                protect(&vmalloc, address(grown), new, Protection::ReadOnly).expect("inside");
                let again =
                    resize(&vmalloc, grown, 1).and_then(|cut| resize(&vmalloc, cut, new)).expect("room");
                let now = (0..new).map(|page| rights(&machine, address(again) + page * PAGE_SIZE));
                assert!({ now }.all(|rights| rights == (false, false)));
                free(&vmalloc, again).expect("allocated");
                blockers.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
                drop(vmalloc);
                machine.assert_all_frames_back();
            }
        }
    }
}

/// Entries of pages that were freed say nothing of the area: who maps them next takes them as they are. Seen failing with
/// the digits of the length left, of all areas and of those that were resized; with the mark of the last page left.
#[test]
fn a_freed_area_leaves_no_marks_in_its_entries() {
    for pages in [1, 2, 3, 4, 15, 16, 17, 18, 31, 32, 33, 100, 254, 255] {
        for resized in [pages, pages + 1, pages / 2 + 1, 1] {
            let machine = Machine::new(2, 600);
            let vmalloc = flushing(&machine, 2);
            let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
            assert_eq!(resize(&vmalloc, area, resized).ok(), Some(area));
            load(&machine, area, resized);
            let (block, first) = (address(area) / BLOCK_SIZE, address(area) / PAGE_SIZE % BLOCK_PAGES);
            let leaf = vmalloc.areas_room().blocks().leaf_of(block - START / BLOCK_SIZE);
            free(&vmalloc, area).expect("allocated");
            for (page, slot) in leaf[first..=first + pages.max(resized)].iter().enumerate() {
                let entry = slot.get();
                assert!(!entry.is_present());
                assert_eq!(entry, entry.unmarked(), "page {page} of {pages}, then {resized}");
            }
        }
    }
}
