//! What is taken again has the rights that were asked for, and no CPU has others; what was resized, protected or made in
//! another way is not mixed up.

extern crate std;

use super::{FRAMES, allocate, assert_guarded, costs, frames, parked, write_all};
use crate::{
    BLOCK_SIZE, PAGE_SIZE, Protection, Request, Vmalloc,
    tests::{
        machine::{Machine, PageFault},
        support::{address, free, instance, protect, resize},
    },
};
use core::{ops::Range, ptr::NonNull};
use std::vec::Vec;

const CPUS: usize = 2;
const ALL: [Protection; 3] = [Protection::ReadWrite, Protection::ReadOnly, Protection::ReadExecute];

/// Each CPU may do with each page what the protection says, and no more.
fn assert_rights(machine: &Machine, area: NonNull<u8>, pages: usize, protection: Protection) {
    machine.observe();
    machine.check();
    assert_guarded(machine, CPUS, area, pages);
    for (cpu, page) in (0..CPUS).flat_map(|cpu| (0..pages).map(move |page| (cpu, page))) {
        let start = address(area) + page * PAGE_SIZE;
        let has = machine.speculate(cpu, start).expect("mapped");
        let rights = (protection == Protection::ReadWrite, protection == Protection::ReadExecute);
        assert_eq!((has.writable, has.executable), rights, "page {page} on CPU {cpu}");
        let written = machine.write(cpu, start + 8, 1);
        assert_eq!(written, if rights.0 { Ok(()) } else { Err(PageFault) });
    }
    machine.check();
}

/// Allocates as many pages on each CPU, some at once, and looks at their rights.
fn assert_sound(machine: &Machine, vmalloc: &Vmalloc<&Machine>, pages: usize) {
    for cpu in 0..CPUS {
        machine.run_on(cpu);
        let areas = [(); 4].map(|()| allocate(vmalloc, pages));
        for area in areas {
            assert_rights(machine, area, pages, Protection::ReadWrite);
            write_all(machine, CPUS, area, pages);
        }
        for area in areas {
            let found = vmalloc.find_area(address(area)).expect("allocated");
            assert_eq!((found.start, found.pages), (address(area), pages));
            free(vmalloc, area).expect("allocated");
        }
    }
    machine.run_on(0);
    machine.check();
}

fn assert_balanced(machine: &Machine, vmalloc: Vmalloc<&Machine>) {
    vmalloc.trim();
    assert_eq!(vmalloc.stats().free, vmalloc.stats().total);
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Of two requests the second one takes what the first one left if both want the same rights, zeros or not; otherwise that
/// is retired. Code is never parked.
///
/// Seen failing: with rights not compared (`Entry::fits` always true); with what has other rights not retired; with code parked.
#[test]
fn other_rights_than_were_parked_are_not_taken() {
    for (before, after) in ALL.into_iter().flat_map(|before| ALL.map(|after| (before, after))) {
        let is_had_again = before == after && after != Protection::ReadExecute;
        let machine = Machine::new(CPUS, FRAMES);
        let vmalloc = instance(&machine, 8);
        for (pages, zeroed) in
            [1, 2, 9, 16, 17, 80].into_iter().flat_map(|pages| [(pages, false), (pages, true)])
        {
            let request = |protection| Request::new(pages * PAGE_SIZE).protection(protection);
            let first = vmalloc.allocate(request(before)).expect("room");
            assert_rights(&machine, first, pages, before);
            let had = frames(&machine, first, pages);
            free(&vmalloc, first).expect("allocated");
            let request = request(after);
            let request = if zeroed { request.zeroed() } else { request };
            let second = vmalloc.allocate(request).expect("room");
            assert_rights(&machine, second, pages, after);
            assert_eq!(second == first, is_had_again, "{before:?}, then {after:?}");
            assert_eq!(frames(&machine, second, pages) == had, is_had_again);
            assert_eq!(vmalloc.lazy_pages(), if is_had_again { 0 } else { pages as i64 + 1 });
            vmalloc.purge();
            let third = vmalloc.allocate(request).expect("room");
            assert_rights(&machine, third, pages, after);
            [second, third].into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
            assert_sound(&machine, &vmalloc, pages);
            vmalloc.trim();
        }
        assert_balanced(&machine, vmalloc);
    }
}

/// Whole areas and parts of them; and back again.
///
/// Seen failing: with `set_protection` not marking the area as changed.
#[test]
fn what_was_protected_is_not_parked() {
    for pages in [1, 2, 4, 16, 17, 80] {
        let machine = Machine::new(CPUS, FRAMES);
        let vmalloc = instance(&machine, 8);
        let parts: [Range<usize>; 5] =
            [0..pages, 0..1, pages - 1..pages, pages / 2..pages, pages / 3..pages.div_ceil(2)];
        for (part, back) in parts.into_iter().flat_map(|part| [(part.clone(), false), (part, true)]) {
            for protection in [Protection::ReadOnly, Protection::ReadExecute] {
                let area = allocate(&vmalloc, pages);
                write_all(&machine, CPUS, area, pages);
                let start = address(area) + part.start * PAGE_SIZE;
                protect(&vmalloc, start, part.len(), protection).expect("an area");
                if back {
                    protect(&vmalloc, start, part.len(), Protection::ReadWrite).expect("an area");
                }
                machine.check();
                free(&vmalloc, area).expect("allocated");
                assert_eq!((parked(&vmalloc), vmalloc.lazy_pages()), (0, pages as i64 + 1));
                assert_sound(&machine, &vmalloc, pages);
                vmalloc.purge();
                assert_sound(&machine, &vmalloc, pages);
                vmalloc.trim();
            }
        }
        assert_balanced(&machine, vmalloc);
    }
}

/// Grown and cut where it is, moved because the place behind it is taken, and all of these after each other: what tells how
/// long it is tells so afterwards, and is parked as that. Longer ones are not, once they were resized.
///
/// Seen failing: with the first entry left as it was where an area is resized in its place; with that of one that moves; with
/// areas that were longer not marked as changed.
#[test]
fn what_was_resized_is_parked_as_what_it_is() {
    for (steps, blocked) in [
        (&[1, 2][..], false),
        (&[2, 1], false),
        (&[3, 16], false),
        (&[16, 4], false),
        (&[4, 5, 4], false),
        (&[1, 2], true),
        (&[3, 4], true),
        (&[5, 20, 5], true),
        (&[2, 7, 1, 3], true),
        (&[30, 8], false),
        (&[30, 20], false),
        (&[17, 18], true),
    ] {
        let machine = Machine::new(CPUS, FRAMES);
        let vmalloc = instance(&machine, 8);
        let mut area = allocate(&vmalloc, steps[0]);
        let behind = blocked.then(|| allocate(&vmalloc, 1));
        write_all(&machine, CPUS, area, steps[0]);
        for &pages in &steps[1..] {
            area = resize(&vmalloc, area, pages).expect("room");
            write_all(&machine, CPUS, area, pages);
            machine.check();
        }
        assert_eq!(vmalloc.find_area(address(area)).map(|found| found.pages), steps.last().copied());
        let (last, had) = (steps[steps.len() - 1], frames(&machine, area, steps[steps.len() - 1]));
        let is_parked = steps.iter().all(|&pages| pages <= 16);
        free(&vmalloc, area).expect("allocated");
        assert_eq!(parked(&vmalloc), if is_parked { last + 1 } else { 0 }, "{steps:?}");
        machine.check();
        // Until then CPUs may reach the page behind it, which was an area's page before it was cut.
        vmalloc.purge();
        let again = allocate(&vmalloc, last);
        assert_rights(&machine, again, last, Protection::ReadWrite);
        if is_parked {
            assert_eq!((again, frames(&machine, again, last)), (area, had), "{steps:?}");
        }
        free(&vmalloc, again).expect("allocated");
        for &pages in steps {
            assert_sound(&machine, &vmalloc, pages);
        }
        behind.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
        assert_balanced(&machine, vmalloc);
    }
}

/// As many pages, and other bytes: nothing of it has changed but what its guard page tells.
#[test]
fn what_was_resized_within_its_pages_is_parked() {
    let machine = Machine::new(CPUS, FRAMES);
    let vmalloc = instance(&machine, 8);
    let area = vmalloc.vmalloc(3 * PAGE_SIZE - 50).expect("room");
    // SAFETY: the test goes on with the result alone.
    let area = unsafe { vmalloc.vrealloc(area, 3 * PAGE_SIZE - 700) }.expect("room");
    free(&vmalloc, area).expect("allocated");
    assert_eq!(parked(&vmalloc), 4);
    assert_eq!(allocate(&vmalloc, 3), area);
    assert_eq!(vmalloc.find_area(address(area)).map(|found| found.requested), Some(3 * PAGE_SIZE));
    free(&vmalloc, area).expect("allocated");
    assert_balanced(&machine, vmalloc);
}

/// Seen failing: with the alignment of what is parked not looked at.
#[test]
fn an_aligned_request_takes_what_is_aligned() {
    let machine = Machine::new(CPUS, FRAMES);
    let vmalloc = instance(&machine, 8);
    let areas = [(); 8].map(|()| allocate(&vmalloc, 1));
    let mut held = Vec::new();
    for align in [2, 4, 8] {
        for area in areas {
            free(&vmalloc, area).expect("allocated");
            let before = costs(&machine);
            let aligned = vmalloc.allocate(Request::new(PAGE_SIZE).align(align * PAGE_SIZE)).expect("room");
            assert!(address(aligned).is_multiple_of(align * PAGE_SIZE));
            let fits = address(area).is_multiple_of(align * PAGE_SIZE);
            assert_eq!(aligned == area, fits, "{area:?} aligned to {align} pages");
            assert!(!fits || costs(&machine) == before);
            assert_rights(&machine, aligned, 1, Protection::ReadWrite);
            if !fits {
                assert_eq!((parked(&vmalloc), allocate(&vmalloc, 1)), (2, area));
                held.push(aligned);
            }
        }
    }
    areas.into_iter().chain(held).for_each(|area| free(&vmalloc, area).expect("allocated"));
    assert_balanced(&machine, vmalloc);
}

/// A guard page below an area is never another area's, and no area with one is parked; nor does one that is to have one, or
/// is to lie in a certain range, take what is parked.
///
/// Seen failing: with the guard page below not looked at by `is_parkable`; with `make_small` taking what is parked for a
/// request with a guard page below.
#[test]
fn what_has_a_guard_page_below_is_not_parked() {
    let machine = Machine::new(CPUS, FRAMES);
    let vmalloc = instance(&machine, 8);
    for pages in [1, 3, 16, 17, 80] {
        let plain = allocate(&vmalloc, pages);
        free(&vmalloc, plain).expect("allocated");
        let request = Request::new(pages * PAGE_SIZE);
        let range = vmalloc.range().clone();
        let guarded = vmalloc.allocate(request.guard_below()).expect("room");
        let placed = vmalloc.allocate(request.within(range.end - BLOCK_SIZE, range.end)).expect("room");
        assert!(address(placed) >= range.end - BLOCK_SIZE && guarded != plain);
        assert_eq!((parked(&vmalloc), vmalloc.lazy_pages()), (pages + 1, 0));
        for cpu in 0..CPUS {
            assert_eq!(machine.read(cpu, address(guarded) - PAGE_SIZE), Err(PageFault));
        }
        assert_rights(&machine, guarded, pages, Protection::ReadWrite);
        free(&vmalloc, guarded).expect("allocated");
        assert_eq!((parked(&vmalloc), vmalloc.lazy_pages()), (pages + 1, pages as i64 + 2));
        free(&vmalloc, placed).expect("allocated");
        assert_eq!(parked(&vmalloc), pages + 1, "a block of its own is not parked");
        let held: Vec<_> = (0..3).map(|_| allocate(&vmalloc, pages)).collect();
        assert_eq!(held[0], plain);
        held.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
        vmalloc.trim();
        assert_sound(&machine, &vmalloc, pages);
        vmalloc.trim();
    }
    assert_balanced(&machine, vmalloc);
}
