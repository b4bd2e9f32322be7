//! An area that was cut, and then grows by just what was cut off, has its pages back as they were: nothing is flushed.

extern crate std;

use super::{FRAMES, allocate, assert_guarded, costs, frames, parked, write_all};
use crate::{
    PAGE_SIZE, Protection, Request, Reuse, Vmalloc,
    tests::{
        machine::Machine,
        support::{address, free, instance, protect, resize},
    },
};
use core::ptr::NonNull;

const CPUS: usize = 2;

/// Lengths of an area before it is cut, and after.
const CUTS: [(usize, usize); 5] = [(2, 1), (4, 1), (5, 4), (16, 3), (60, 20)];

fn instance_with_area(machine: &Machine, pages: usize) -> (Vmalloc<&Machine>, NonNull<u8>) {
    let vmalloc = instance(machine, 8);
    let area = allocate(&vmalloc, pages);
    write_all(machine, CPUS, area, pages);
    (vmalloc, area)
}

fn resized(machine: &Machine, vmalloc: &Vmalloc<&Machine>, area: NonNull<u8>, pages: usize) -> NonNull<u8> {
    let now = resize(vmalloc, area, pages).expect("room");
    machine.observe();
    machine.check();
    assert_eq!(vmalloc.find_area(address(now)).map(|found| found.pages), Some(pages));
    now
}

fn assert_balanced(machine: &Machine, vmalloc: Vmalloc<&Machine>, area: NonNull<u8>) {
    free(&vmalloc, area).expect("allocated");
    machine.check();
    vmalloc.trim();
    assert_eq!((vmalloc.stats().used(), vmalloc.lazy_pages()), (0, 0));
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Each page has the frame again that it had, also the one whose entry the guard page took: CPUs still translate it so.
///
/// Seen failing: with `take_cut` never taking; with the pages counted as waiting still.
#[test]
fn what_was_cut_off_comes_back_as_it_was() {
    for (long, short) in CUTS {
        let machine = Machine::new(CPUS, FRAMES);
        let (vmalloc, area) = instance_with_area(&machine, long);
        let (had, before) = (frames(&machine, area, long), costs(&machine));
        for _ in 0..3 {
            assert_eq!(resized(&machine, &vmalloc, area, short), area);
            assert_eq!(vmalloc.lazy_pages() as usize, long - short);
            // An area of more than 16 pages is marked when it is resized, and does not take back what was cut off.
            if long > 16 {
                break;
            }
            assert_eq!(resized(&machine, &vmalloc, area, long), area);
            assert_eq!(vmalloc.lazy_pages(), 0);
            assert_eq!(frames(&machine, area, long), had);
            assert_guarded(&machine, CPUS, area, long);
            write_all(&machine, CPUS, area, long);
        }
        assert_eq!(costs(&machine), before, "{long} pages, cut to {short}");
        assert_balanced(&machine, vmalloc, area);
    }
}

/// Between the two the area may have been freed, parked, and taken by another owner.
///
/// Seen failing: with `take_cut` never taking.
#[test]
fn the_next_owner_has_them_too() {
    let machine = Machine::new(CPUS, FRAMES);
    let (vmalloc, area) = instance_with_area(&machine, 4);
    let (had, before) = (frames(&machine, area, 4), costs(&machine));
    for _ in 0..3 {
        assert_eq!(resized(&machine, &vmalloc, area, 1), area);
        free(&vmalloc, area).expect("allocated");
        assert_eq!(parked(&vmalloc), 2);
        assert_eq!(allocate(&vmalloc, 1), area);
        assert_eq!(resized(&machine, &vmalloc, area, 4), area);
        assert_eq!(frames(&machine, area, 4), had);
    }
    assert_eq!(costs(&machine), before);
    assert_balanced(&machine, vmalloc, area);
}

/// A CPU may have fetched in advance what is in the pages of code, and no flush has it start anew.
///
/// Seen failing: with code that takes back what was cut off it.
#[test]
fn code_takes_nothing_back() {
    for protection in [Protection::ReadOnly, Protection::ReadExecute] {
        let machine = Machine::new(CPUS, FRAMES);
        let (vmalloc, other) = instance_with_area(&machine, 4);
        let request = Request::new(4 * PAGE_SIZE).protection(protection);
        let area = vmalloc.allocate(request).expect("room");
        assert_eq!(resized(&machine, &vmalloc, area, 2), area);
        let grown = resized(&machine, &vmalloc, area, 4);
        assert_eq!(grown == area, protection == Protection::ReadOnly, "{protection}");
        free(&vmalloc, grown).expect("allocated");
        assert_balanced(&machine, vmalloc, other);
    }
}

/// By another length a page would get another frame than CPUs have for it. So the area moves.
///
/// Seen failing, by the oracle: with `take_cut` not asking how many pages were cut off.
#[test]
fn by_another_length_nothing_is_taken() {
    for now in [2, 3, 5] {
        let machine = Machine::new(CPUS, FRAMES);
        let (vmalloc, area) = instance_with_area(&machine, 4);
        assert_eq!(resized(&machine, &vmalloc, area, 1), area);
        let moved = resized(&machine, &vmalloc, area, now);
        assert_ne!(moved, area);
        write_all(&machine, CPUS, moved, now);
        assert_balanced(&machine, vmalloc, moved);
    }
}

/// Of two cuts only the last one is remembered; it tells nothing of the one before.
///
/// Seen failing: with a cut added to the one before.
#[test]
fn a_cut_makes_the_one_before_forgotten() {
    let machine = Machine::new(CPUS, FRAMES);
    let (vmalloc, area) = instance_with_area(&machine, 6);
    let had = frames(&machine, area, 3);
    for pages in [3, 1, 3] {
        assert_eq!(resized(&machine, &vmalloc, area, pages), area);
    }
    assert_eq!(frames(&machine, area, 3), had);
    let moved = resized(&machine, &vmalloc, area, 6);
    assert_ne!(moved, area);
    assert_balanced(&machine, vmalloc, moved);
}

/// A flush that has begun frees the pages when it ends, and the frames in them.
///
/// Seen failing: with `begin_flush` not making the cut forgotten.
#[test]
fn what_is_flushed_is_not_taken_back_as_cut() {
    let machine = Machine::new(CPUS, FRAMES);
    let (vmalloc, area) = instance_with_area(&machine, 4);
    assert_eq!(resized(&machine, &vmalloc, area, 1), area);
    vmalloc.purge();
    // They are free, and stand behind the area.
    let other = allocate(&vmalloc, 2);
    let grown = resized(&machine, &vmalloc, area, 4);
    write_all(&machine, CPUS, grown, 4);
    free(&vmalloc, other).expect("allocated");
    assert_balanced(&machine, vmalloc, grown);
}

/// Where nothing is reused before a flush, neither is what was cut off; nor where an area's pages have other rights now than
/// CPUs may know.
///
/// Seen failing: with the magazines not asked for; with changed areas taking what was cut off, by the oracle.
#[test]
fn nor_where_reuse_waits_for_a_flush_or_rights_changed() {
    for reuse in [Reuse::AfterFlush, Reuse::Hot] {
        let machine = Machine::new(CPUS, FRAMES);
        let (vmalloc, area) = instance_with_area(&machine, 4);
        vmalloc.set_reuse(reuse);
        assert_eq!(resized(&machine, &vmalloc, area, 1), area);
        if reuse == Reuse::Hot {
            protect(&vmalloc, address(area), 1, Protection::ReadOnly).expect("an area");
        }
        let moved = resized(&machine, &vmalloc, area, 4);
        assert_ne!(moved, area, "{reuse:?}");
        assert_balanced(&machine, vmalloc, moved);
    }
}

/// The area moves, and another one, with other rights, is made where it began, before what was cut off.
///
/// Seen failing, by the oracle: with the cut remembered when pages are given back.
#[test]
fn nor_where_the_area_moved_away() {
    let machine = Machine::new(CPUS, FRAMES);
    let (vmalloc, area) = instance_with_area(&machine, 4);
    assert_eq!(resized(&machine, &vmalloc, area, 2), area);
    let moved = resized(&machine, &vmalloc, area, 8);
    assert_ne!(moved, area);
    let request = Request::new(2 * PAGE_SIZE).protection(Protection::ReadExecute).align(2 * PAGE_SIZE);
    let other = vmalloc.allocate(request).expect("room");
    assert_eq!(other, area, "the lowest place");
    let grown = resized(&machine, &vmalloc, other, 4);
    free(&vmalloc, moved).expect("allocated");
    assert_balanced(&machine, vmalloc, grown);
}

/// What comes back leaves nothing to flush.
///
/// Seen failing, with a flush, without the look whether anything is dirty.
#[test]
fn nothing_is_flushed_for_what_came_back() {
    let machine = Machine::new(CPUS, FRAMES);
    let (vmalloc, area) = instance_with_area(&machine, 4);
    for pages in [1, 4] {
        assert_eq!(resized(&machine, &vmalloc, area, pages), area);
    }
    let before = costs(&machine);
    assert_eq!(vmalloc.purge(), 0);
    assert_eq!(costs(&machine), before);
    assert_balanced(&machine, vmalloc, area);
}
