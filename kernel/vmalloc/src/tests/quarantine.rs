//! Freed pages that wait until others were freed.

extern crate std;

use crate::{
    BLOCK_PAGES, BLOCK_SIZE, PAGE_SIZE, Platform, Returned, Vmalloc,
    pending::Pressure,
    tests::{
        machine::{Machine, PageFault, Random},
        support::{address, free, instance, map_ram, take, unmap_ram},
    },
};
use core::{ptr::NonNull, sync::atomic::Ordering};
use std::{collections::HashMap, vec::Vec};

/// When each page of address space, and each frame, was freed: by how many pages of address space had been freed then.
#[derive(Default)]
struct Freed {
    now: usize,
    pages: HashMap<usize, usize>,
    frames: HashMap<u64, usize>,
}

impl Freed {
    /// Notes that the area at `start` is freed next.
    fn note(&mut self, vmalloc: &Vmalloc<&Machine>, start: usize) {
        let area = vmalloc.find_area(start).expect("allocated");
        let (mut first, mut end) = (area.guard_start(), area.end());
        if area.pages > BLOCK_PAGES {
            (first, end) = (first / BLOCK_SIZE * BLOCK_SIZE, end.next_multiple_of(BLOCK_SIZE));
        }
        self.note_pages(first, end);
        let now = self.now;
        let frames = vmalloc.area_frames(start).into_iter().flatten();
        self.frames.extend(frames.map(|frame| (frame.number(), now)));
    }

    fn note_pages(&mut self, first: usize, end: usize) {
        self.now += (end - first) / PAGE_SIZE;
        let now = self.now;
        self.pages.extend((first..end).step_by(PAGE_SIZE).map(|page| (page, now)));
    }

    /// Checks that what is in use now was freed before so many pages were.
    fn check(&mut self, pages: core::ops::Range<usize>, frames: impl Iterator<Item = u64>, wait: usize) {
        let pages = pages.step_by(PAGE_SIZE).filter_map(|page| self.pages.remove(&page));
        let frames = frames.filter_map(|frame| self.frames.remove(&frame));
        for at in pages.chain(frames) {
            assert!(self.now - at >= wait, "used again after {} pages, not {wait}", self.now - at);
        }
    }
}

/// Seen failing with what has waited let go one purge early, with flushes page by page, with pages that are dirty taken
/// along by those that wait, with a count that begins before a purge ends, with runs of blocks that do not wait, and with a
/// purge for each CPU's share of what is counted.
#[test]
fn nothing_is_used_again_before_enough_was_freed() {
    for seed in 1..=24 {
        let mut random = Random::new(seed);
        let wait = random.pick(&[1, 60, 700, 4000]);
        let machine = Machine::new(2, 60_000);
        let vmalloc = instance(&machine, 200);
        let lazy_max = random.pick(&[100, 1000]);
        vmalloc.tunables().lazy_max_pages.store(lazy_max, Ordering::Relaxed);
        vmalloc.set_quarantine(wait);
        assert_eq!(vmalloc.quarantine(), wait);
        let shown = take(&machine, 8);
        let (mut freed, mut areas) = (Freed::default(), Vec::<NonNull<u8>>::new());
        let (mut reused, mut by_hand) = (0, 0);
        for _ in 0..3000 {
            machine.run_on(random.below(2));
            let known = freed.pages.len();
            match random.below(10) {
                0 => {
                    let frames = &shown[..1 + random.below(8)];
                    let area = map_ram(&vmalloc, frames).expect("room");
                    let pages = address(area)..address(area) + frames.len() * PAGE_SIZE;
                    freed.check(pages.clone(), core::iter::empty(), wait);
                    unmap_ram(&vmalloc, area, frames.len()).expect("mapped");
                    freed.note_pages(pages.start, pages.end);
                }
                1..=4 => {
                    let pages = if random.below(30) == 0 { 600 } else { 1 + random.below(20) };
                    let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
                    let info = vmalloc.find_area(address(area)).expect("allocated");
                    let frames: Vec<_> =
                        vmalloc.area_frames(info.start).into_iter().flatten().map(|f| f.number()).collect();
                    freed.check(info.start..info.end(), frames.into_iter(), wait);
                    machine.write(1, info.start, 5).expect("mapped");
                    areas.push(area);
                }
                5..=8 if !areas.is_empty() => {
                    let area = areas.swap_remove(random.below(areas.len()));
                    freed.note(&vmalloc, address(area));
                    free(&vmalloc, area).expect("allocated");
                }
                9 if random.below(5) == 0 => {
                    by_hand += 1;
                    if random.below(2) == 0 {
                        _ = vmalloc.purge();
                    } else {
                        vmalloc.vm_unmap_aliases()
                    }
                }
                _ => {}
            }
            reused += known.saturating_sub(freed.pages.len());
        }
        assert_eq!(vmalloc.tally().overflows, 0);
        // A CPU counts 256 pages before it looks.
        let due = freed.now / lazy_max.max(256) + 1;
        assert!(vmalloc.tally().purges <= by_hand + due as u64, "who waits is purged again and again");
        // What goes in comes out: it is not let go at the end alone.
        assert!(reused > 1000, "{reused} pages were used again");
        assert!(vmalloc.lazy_pages() <= 2 * wait as i64 + 3000, "{} pages wait", vmalloc.lazy_pages());
        areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
        vmalloc.set_quarantine(0);
        vmalloc.purge();
        assert_eq!(vmalloc.lazy_pages(), 0, "nothing waits any longer");
        drop(vmalloc);
        Platform::give_frames(&&machine, Returned::new(shown.into_iter()));
        machine.assert_all_frames_back();
    }
}

/// Seen failing with a free that makes no CPU forget the area.
#[test]
fn a_pointer_into_freed_memory_faults() {
    for pages in [1, 40] {
        let machine = Machine::new(2, 4000);
        let vmalloc = instance(&machine, 8);
        vmalloc.set_quarantine(1000);
        let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
        machine.write(0, address(area), 1).expect("mapped");
        free(&vmalloc, area).expect("allocated");
        assert_eq!(machine.read(0, address(area)), Err(PageFault));
        vmalloc.purge();
        for _ in 0..400 {
            let other = vmalloc.vmalloc(PAGE_SIZE).expect("room");
            free(&vmalloc, other).expect("allocated");
            assert_eq!(machine.read(1, address(area)), Err(PageFault));
        }
    }
}

/// Seen failing with a shortage that nothing is let go for.
#[test]
fn what_waits_is_had_where_there_is_nothing_else() {
    let machine = Machine::new(1, 3 * BLOCK_PAGES);
    for by_trim in [false, true] {
        let vmalloc = instance(&machine, 4);
        // The CPU has a record from now on.
        let first = vmalloc.vmalloc(PAGE_SIZE).expect("room");
        free(&vmalloc, first).expect("allocated");
        vmalloc.trim();
        vmalloc.set_quarantine(1 << 20);
        let (free_frames, blocks) = (machine.free_frames(), vmalloc.stats().free);
        for _ in 0..20 {
            let area = vmalloc.vmalloc(2 * BLOCK_SIZE).expect("what was freed is let go");
            free(&vmalloc, area).expect("allocated");
            assert!(vmalloc.lazy_pages() > 2 * BLOCK_PAGES as i64, "it waits");
            if by_trim {
                vmalloc.trim();
                assert_eq!((machine.free_frames(), vmalloc.stats().free), (free_frames, blocks));
            }
        }
        assert!(by_trim || vmalloc.tally().overflows >= 19);
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// Without a quarantine all is as it was before one. Seen failing with magazines that stay closed.
#[test]
fn what_was_turned_off_holds_nothing_back() {
    let machine = Machine::new(2, 4000);
    let vmalloc = instance(&machine, 8);
    let once = || {
        let area = vmalloc.vmalloc(3 * PAGE_SIZE).expect("room");
        free(&vmalloc, area).expect("allocated");
        address(area)
    };
    let [_, first] = [(); 2].map(|()| once());
    assert_eq!(once(), first, "it is taken again as it is");
    vmalloc.set_quarantine(1000);
    assert_ne!(once(), once(), "it waits");
    vmalloc.purge();
    assert!(vmalloc.stats().lazy > 0, "it waits longer than for a purge");
    vmalloc.set_quarantine(0);
    vmalloc.purge();
    assert_eq!(vmalloc.stats().lazy, 0);
    // The first one makes the CPU's magazine anew.
    let [_, first] = [(); 2].map(|()| once());
    assert_eq!(once(), first, "it is taken again as before");
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Who frees into a quarantine forgets each page at once, or all where there are more than a flush goes through one by one.
/// Seen failing with one page flushed for all, and with the bound shifted by one.
#[test]
fn who_frees_forgets_at_once() {
    const CEILING: usize = 10;
    let machine = Machine::new(2, 500);
    let vmalloc = instance(&machine, 4);
    vmalloc.tunables().single_page_flush_ceiling.store(CEILING, Ordering::Relaxed);
    vmalloc.set_quarantine(10_000);
    for (pages, expected) in [(1, (1, 0)), (CEILING, (CEILING, 0)), (CEILING + 1, (0, 1))] {
        let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
        let words = (0..pages).map(|page| address(area) + page * PAGE_SIZE);
        words.clone().for_each(|word| machine.write(0, word, 7).expect("mapped"));
        let before = (machine.page_flushes(), machine.full_flushes());
        free(&vmalloc, area).expect("allocated");
        let after = (machine.page_flushes(), machine.full_flushes());
        assert_eq!((after.0 - before.0, after.1 - before.1), expected, "{pages} pages");
        words.for_each(|word| assert_eq!(machine.read(0, word), Err(PageFault)));
    }
}

/// What was held back counts when nothing is any more.
///
/// Seen failing with pages that stay held.
#[test]
fn without_a_quarantine_what_waited_counts_as_waiting() {
    let machine = Machine::new(1, 8000);
    let vmalloc = instance(&machine, 16);
    vmalloc.tunables().lazy_max_pages.store(100, Ordering::Relaxed);
    vmalloc.set_quarantine(10_000);
    let areas: Vec<_> = (0..9).map(|_| vmalloc.vmalloc(100 * PAGE_SIZE).expect("room")).collect();
    areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    let pending = vmalloc.pending();
    assert!(vmalloc.lazy_pages() > 900 && pending.pressure() == Pressure::Low, "they are held");
    vmalloc.set_quarantine(0);
    assert!(pending.pressure() == Pressure::High);
    vmalloc.purge();
    assert_eq!(vmalloc.lazy_pages(), 0);
}
