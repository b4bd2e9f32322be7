//! Pages that nobody may access.

extern crate std;

use crate::{
    AllocError, BLOCK_PAGES, BLOCK_SIZE, Cache, CongruentArea, FreeError, Kind, PAGE_SIZE, ProtectError,
    Protection, ReallocError, Request, Vmalloc,
    tests::{
        machine::{Machine, PageFault, Random},
        support::{
            address, assert_marks, at, flushing, free, instance, map_ram, mark, protect, resize, take, unmap,
            unmap_ram,
        },
    },
};
use core::{ops::Range, ptr::NonNull};
use std::vec::Vec;

/// Areas of all kinds of place, and which of their pages are to be hidden.
fn cases() -> impl Iterator<Item = (Request, usize, Range<usize>)> {
    let small =
        [(1, 0..1), (3, 0..1), (3, 1..2), (3, 2..3), (3, 0..3), (16, 3..9), (40, 1..40), (250, 0..250)];
    let large = [(600, 0..1), (600, 511..513), (600, 599..600), (1024, 0..1024), (1100, 5..1090)];
    let requests = |(pages, hidden): (usize, Range<usize>)| {
        let request = Request::new(pages * PAGE_SIZE);
        let huge = (pages > BLOCK_PAGES).then(|| request.huge());
        [Some(request), Some(request.guard_below()), huge]
            .into_iter()
            .flatten()
            .map(move |request| (request, pages, hidden.clone()))
    };
    small.into_iter().chain(large).flat_map(requests)
}

/// Every CPU has a translation of every page.
fn load(machine: &Machine, area: NonNull<u8>, pages: usize) {
    for page in 0..2 * pages {
        machine.speculate(page % 2, address(area) + page / 2 * PAGE_SIZE).expect("mapped");
    }
}

fn assert_hidden(
    machine: &Machine,
    vmalloc: &Vmalloc<&Machine>,
    area: NonNull<u8>,
    pages: usize,
    hidden: &Range<usize>,
) {
    let start = address(area);
    for page in 0..pages {
        let word = start + page * PAGE_SIZE;
        let cpu = page % 2;
        if hidden.contains(&page) {
            assert_eq!(machine.read(cpu, word), Err(PageFault), "page {page}");
            assert_eq!(machine.write(cpu, word, 1), Err(PageFault), "page {page}");
            assert_eq!(vmalloc.vread(word, &mut [1; 8]), 0);
        } else {
            assert_eq!(machine.read(cpu, word), Ok((page + 7) as u64), "page {page}");
        }
        let found = vmalloc.find_area(word).expect("allocated");
        assert_eq!((found.start, found.pages, found.kind), (start, pages, Kind::Vmalloc));
    }
    assert_eq!(vmalloc.areas().map(|area| area.start).collect::<Vec<_>>(), [start]);
}

/// Seen failing without the flush, with frames lost where pages are freed hidden, and by areas that are not found.
#[test]
fn hidden_pages_fault_keep_what_they_hold_and_are_freed() {
    for (index, (request, pages, hidden)) in cases().enumerate() {
        for way in 0..4 {
            let machine = Machine::new(2, 4000);
            let vmalloc = flushing(&machine, 8);
            let area = vmalloc.allocate(request).expect("room");
            mark(&machine, address(area), 0..pages, 7);
            load(&machine, area, pages);
            let frames: Vec<_> = vmalloc.area_frames(address(area)).expect("an area").collect();
            let part = address(area) + hidden.start * PAGE_SIZE;
            protect(&vmalloc, part, hidden.len(), Protection::None).expect("frames enough");
            machine.check();
            assert_hidden(&machine, &vmalloc, area, pages, &hidden);
            let now: Vec<_> = vmalloc.area_frames(address(area)).expect("an area").collect();
            assert_eq!(now, frames);
            assert!(matches!(resize(&vmalloc, area, pages + 1), Err(ReallocError::Inaccessible { .. })));
            assert!(matches!(resize(&vmalloc, area, pages), Err(ReallocError::Inaccessible { .. })));
            assert!(
                (1..4).all(|pages| unmap_ram(&vmalloc, area, pages).is_err())
                    && unmap(&vmalloc, area).is_err()
            );
            if way == 3 {
                protect(&vmalloc, address(area), pages, Protection::ReadWrite).expect("nothing is split");
                assert_marks(&machine, index % 2, address(area), 0..pages, 7);
                resize(&vmalloc, area, pages.max(2) - 1).expect("gets no longer");
            }
            vmalloc.set_trace(way == 2);
            machine.set_interrupt(way == 1);
            free(&vmalloc, area).expect("allocated");
            assert!(matches!(free(&vmalloc, area), Err(FreeError::NotAllocated { .. })), "twice");
            machine.set_interrupt(false);
            assert!(vmalloc.find_area(part).is_none());
            vmalloc.purge();
            machine.check();
            assert_eq!((vmalloc.stats().quarantined, vmalloc.lazy_pages()), (0, 0));
            let again = vmalloc.allocate(request.zeroed()).expect("room");
            for page in 0..pages {
                assert_eq!(
                    machine.read(0, address(again) + page * PAGE_SIZE),
                    Ok(0),
                    "page {page} was written"
                );
            }
            free(&vmalloc, again).expect("allocated");
            vmalloc.trim();
            assert_eq!(vmalloc.stats().free, vmalloc.stats().total);
            drop(vmalloc);
            machine.assert_all_frames_back();
        }
    }
}

/// Seen failing with an area that is parked with its hidden pages.
#[test]
fn an_area_can_be_made_hidden() {
    for pages in [1, 5, 300, 1024] {
        let machine = Machine::new(2, 4000);
        let vmalloc = instance(&machine, 8);
        for round in 0..3 {
            let request = Request::new(pages * PAGE_SIZE).zeroed().huge().protection(Protection::None);
            let area = vmalloc.allocate(request).expect("room");
            assert_eq!(vmalloc.find_area(address(area)).expect("allocated").huge_pages, 0);
            let words = (0..pages).map(|page| address(area) + page * PAGE_SIZE);
            assert!(words.clone().all(|word| machine.read(round % 2, word) == Err(PageFault)));
            protect(&vmalloc, address(area), pages, Protection::ReadWrite).expect("no page is split");
            for word in words {
                assert_eq!(machine.read(round % 2, word), Ok(0));
                machine.write(round % 2, word, 3).expect("mapped");
            }
            protect(&vmalloc, address(area), pages, Protection::None).expect("no page is split");
            free(&vmalloc, area).expect("allocated");
        }
        machine.check();
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

/// Seen failing with a read-only mapping in its place.
#[test]
fn what_owns_no_frames_is_not_hidden() {
    let machine = Machine::new(1, 1000);
    let vmalloc = instance(&machine, 8);
    let frames = take(&machine, 3);
    // With pages that the CPU has at hand, and without.
    for count in [1, 2, 3, 0, 1, 2, 3] {
        if count == 0 {
            let ram = map_ram(&vmalloc, &frames).expect("room");
            unmap_ram(&vmalloc, ram, 3).expect("mapped");
            continue;
        }
        assert_eq!(vmalloc.vmap(&frames[..count], Protection::None), Err(AllocError::NoAccess));
        assert_eq!(vmalloc.vm_map_ram(&frames[..count], Protection::None), Err(AllocError::NoAccess));
    }
    let set =
        vmalloc.allocate_congruent(&[CongruentArea { offset: 0, size: PAGE_SIZE }], PAGE_SIZE).expect("room");
    let mapped = vmalloc.vmap(&frames, Protection::ReadWrite).expect("room");
    let ram = map_ram(&vmalloc, &frames).expect("room");
    let device = vmalloc.ioremap(1 << 32, PAGE_SIZE, Cache::Uncached).expect("room");
    for area in [mapped, ram, device, at(set.base)] {
        let refused = protect(&vmalloc, address(area), 1, Protection::None);
        assert!(matches!(refused, Err(ProtectError::WrongKind { .. })), "{refused:?}");
    }
    unmap(&vmalloc, mapped).expect("mapped");
    unmap(&vmalloc, device).expect("mapped");
    unmap_ram(&vmalloc, ram, 3).expect("mapped");
    // SAFETY: nobody uses it.
    unsafe { vmalloc.free_congruent(set) }.expect("allocated");
}

/// A 2 MiB page is split to be hidden. Where there is no frame for that, nothing has changed.
#[test]
fn hiding_2_mib_pages_fails_as_a_whole() {
    let machine = Machine::new(2, 3000);
    let vmalloc = instance(&machine, 8);
    vmalloc.tunables().table_reserve.store(0, core::sync::atomic::Ordering::Relaxed);
    let area = vmalloc.allocate(Request::new(2 * BLOCK_SIZE).huge()).expect("room");
    mark(&machine, address(area), 0..2 * BLOCK_PAGES, 7);
    vmalloc.trim();
    let mut failures = 0;
    for allowed in 0.. {
        machine.fail_after(allowed);
        let hidden = protect(&vmalloc, address(area) + BLOCK_SIZE, BLOCK_PAGES, Protection::None);
        machine.never_fail();
        machine.check();
        match hidden {
            Ok(()) => break,
            Err(error) => assert!(matches!(error, ProtectError::OutOfFrames), "{error}"),
        }
        failures += 1;
        assert_marks(&machine, 1, address(area), 0..2 * BLOCK_PAGES, 7);
    }
    assert!(failures > 0);
    assert_hidden(&machine, &vmalloc, area, 2 * BLOCK_PAGES, &(BLOCK_PAGES..2 * BLOCK_PAGES));
    free(&vmalloc, area).expect("allocated");
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// Random areas whose pages are protected in random ways, beside a model of each page.
#[test]
fn random_protections_do_as_a_model_does() {
    const ALL: [Protection; 4] =
        [Protection::None, Protection::ReadOnly, Protection::ReadWrite, Protection::ReadExecute];
    for seed in 1..=6 {
        let machine = Machine::new(3, 6000);
        let vmalloc = instance(&machine, 24);
        let mut random = Random::new(seed);
        let mut areas: Vec<(NonNull<u8>, Vec<Protection>)> = Vec::new();
        for step in 0..1500 {
            machine.run_on(random.below(3));
            match random.below(10) {
                0..3 if areas.len() < 25 => {
                    let most = random.pick(&[1, 4, 20, 700]);
                    let (pages, first) = (1 + random.below(most), random.below(3));
                    let request = Request::new(pages * PAGE_SIZE).zeroed();
                    let request = if random.below(3) == 0 { request.guard_below() } else { request };
                    let request = if random.below(2) == 0 { request.huge() } else { request };
                    let Ok(area) = vmalloc.allocate(request.protection(ALL[first])) else { continue };
                    areas.push((area, std::vec![ALL[first]; pages]));
                }
                3 if !areas.is_empty() => {
                    let (area, _) = areas.swap_remove(random.below(areas.len()));
                    machine.set_interrupt(random.below(2) == 0);
                    free(&vmalloc, area).expect("allocated");
                    machine.set_interrupt(false);
                }
                _ if !areas.is_empty() => {
                    let index = random.below(areas.len());
                    let (area, pages) = &mut areas[index];
                    let first = random.below(pages.len());
                    let count = 1 + random.below(pages.len() - first);
                    let protection = ALL[random.below(4)];
                    let start = address(*area) + first * PAGE_SIZE;
                    if protect(&vmalloc, start, count, protection).is_ok() {
                        pages[first..first + count].fill(protection);
                    }
                }
                _ => {}
            }
            for (area, pages) in &areas {
                let page = random.below(pages.len());
                let (cpu, word) = (random.below(3), address(*area) + page * PAGE_SIZE);
                // Nothing else is ever written.
                assert!(matches!(machine.read(cpu, word), Ok(0 | 5)) == (pages[page] != Protection::None));
                assert_eq!(machine.write(cpu, word, 5).is_ok(), pages[page] == Protection::ReadWrite);
            }
            if step % 100 == 0 {
                machine.check();
                let mut known: Vec<_> =
                    areas.iter().map(|(area, pages)| (address(*area), pages.len())).collect();
                known.sort_unstable();
                assert_eq!(vmalloc.areas().map(|area| (area.start, area.pages)).collect::<Vec<_>>(), known);
            }
        }
        areas.into_iter().for_each(|(area, _)| free(&vmalloc, area).expect("allocated"));
        vmalloc.trim();
        assert_eq!(vmalloc.stats().free, vmalloc.stats().total);
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}
