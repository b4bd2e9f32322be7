//! Trace points on the simulated machine, which keeps the events.

extern crate std;

use crate::{
    AllocError, BLOCK_SIZE, Cache, Event, Kind, PAGE_SIZE, Platform, Protection, Request, Returned, Vmalloc,
    tests::{
        machine::{Machine, Random},
        support::{START, address, free, instance, protect, resize, take, unmap},
    },
};
use core::{panic::Location, ptr::NonNull};
use std::{collections::BTreeMap, format, vec::Vec};

fn traced(machine: &Machine, blocks: usize) -> Vmalloc<&Machine> {
    let vmalloc = instance(machine, blocks);
    vmalloc.set_trace(true);
    vmalloc
}

fn freed(area: NonNull<u8>, pages: usize) -> Event {
    Event::Free { address: address(area), pages }
}

/// The only event is that an area was made, by a call in the line behind `before`.
fn assert_made(machine: &Machine, area: NonNull<u8>, pages: usize, kind: Kind, before: &Location<'_>) {
    match machine.take_events()[..] {
        [Event::Allocate { address: start, pages: count, kind: made, caller }] => {
            assert_eq!((start, count, made), (address(area) & !(PAGE_SIZE - 1), pages, kind));
            assert_eq!((caller.file(), caller.line()), (before.file(), before.line() + 1));
        }
        ref events => panic!("{events:?}"),
    }
}

#[track_caller]
fn here() -> &'static Location<'static> {
    Location::caller()
}

/// Seen failing for each way alone: small, run and foreign areas, `vm_map_ram`, without the call to
/// `trace_free` there, and where a fast path is taken although the instance is traced.
#[test]
fn each_way_to_make_and_to_free_an_area_is_traced_once() {
    let machine = Machine::new(2, 8000);
    let vmalloc = traced(&machine, 32);
    for pages in [1, 3, 511, 512, 700, 1024] {
        let before = here();
        let area = vmalloc.vmalloc(pages * PAGE_SIZE - 7).expect("room");
        assert_made(&machine, area, pages, Kind::Vmalloc, before);
        free(&vmalloc, area).expect("allocated");
        assert_eq!(machine.take_events(), [freed(area, pages)]);
        assert!(free(&vmalloc, area).is_err());

        let before = here();
        let area = vmalloc.allocate(Request::new(pages * PAGE_SIZE).huge().zeroed()).expect("room");
        assert_made(&machine, area, pages, Kind::Vmalloc, before);
        free(&vmalloc, area).expect("allocated");
        assert_eq!(machine.take_events(), [freed(area, pages)]);

        let frames = take(&machine, pages);
        let before = here();
        let area = vmalloc.vmap(&frames, Protection::ReadWrite).expect("room");
        assert_made(&machine, area, pages, Kind::Vmap, before);
        unmap(&vmalloc, area).expect("mapped");
        assert_eq!(machine.take_events(), [freed(area, pages)]);
        assert!(unmap(&vmalloc, area).is_err());

        let before = here();
        let area = vmalloc.vm_map_ram(&frames, Protection::ReadWrite).expect("room");
        assert_made(&machine, area, pages, Kind::VmMapRam, before);
        // SAFETY: simulated memory.
        let unmap_ram = |count: usize| unsafe { vmalloc.vm_unmap_ram(area, count) };
        assert!(unmap_ram(pages + 1).is_err());
        unmap_ram(pages).expect("mapped");
        assert_eq!(machine.take_events(), [freed(area, pages)]);
        vmalloc.vm_unmap_aliases();
        machine.take_events();
        (&machine).give_frames(Returned::new(frames.into_iter()));

        let size = pages * PAGE_SIZE;
        let before = here();
        let registers = vmalloc.ioremap(0xfee0_0ff0, size, Cache::Uncached).expect("room");
        assert_made(&machine, registers, pages + 1, Kind::Ioremap, before);
        unmap(&vmalloc, registers).expect("mapped");
        let start = address(registers) - 0xff0;
        assert_eq!(machine.take_events(), [Event::Free { address: start, pages: pages + 1 }]);
        vmalloc.trim();
        machine.take_events();
    }
}

/// Seen failing for each of the three calls of `trace_old` alone.
#[test]
fn a_resized_area_is_freed_as_it_was_and_allocated_as_it_is() {
    let machine = Machine::new(1, 8000);
    let vmalloc = traced(&machine, 32);
    let mut area = vmalloc.vmalloc(4 * PAGE_SIZE).expect("room");
    let mut pages = 4;
    for new in [2, 2, 6, 500, 600, 1500, 900, 513, 1100, 3] {
        machine.take_events();
        // What lies behind is taken: growth moves.
        let held = vmalloc.vmalloc(PAGE_SIZE).expect("room");
        machine.take_events();
        let now = resize(&vmalloc, area, new).expect("room");
        let mut events = machine.take_events();
        events.retain(|event| !matches!(event, Event::Flush { .. }));
        assert_eq!(events.len(), 2, "{pages} to {new}: {events:?}");
        assert_eq!(events[0], freed(area, pages));
        assert!(matches!(events[1], Event::Allocate { address: start, pages, kind: Kind::Vmalloc, .. }
                if (start, pages) == (address(now), new)));
        (area, pages) = (now, new);
        free(&vmalloc, held).expect("allocated");
    }
    machine.take_events();
    assert!(resize(&vmalloc, area, 9000).is_err());
    match machine.take_events()[..] {
        [Event::AllocateFailed { error: AllocError::OutOfFrames { .. }, size, .. }] => {
            assert_eq!(size, 9000 * PAGE_SIZE);
        }
        ref events => panic!("{events:?}"),
    }
}

#[test]
fn each_refusal_is_traced_once() {
    let machine = Machine::new(1, 600);
    let vmalloc = traced(&machine, 4);
    let refused = |error: AllocError, size: usize| match machine.take_events()[..] {
        [Event::AllocateFailed { error: traced, size: asked, .. }] => {
            assert_eq!((traced, asked), (error, size));
        }
        ref events => panic!("{events:?}"),
    };
    for (request, size) in [
        (Request::new(0), 0),
        (Request::new(usize::MAX), usize::MAX),
        (Request::new(9).align(3), 9),
        (Request::new(9).within(1, 2), 9),
        (Request::new(1000 * PAGE_SIZE), 1000 * PAGE_SIZE),
        (Request::new(599 * PAGE_SIZE).no_wait(), 599 * PAGE_SIZE),
    ] {
        refused(vmalloc.allocate(request).expect_err("wrong"), size);
    }
    refused(vmalloc.vmap(&[], Protection::ReadWrite).expect_err("nothing"), 0);
    refused(vmalloc.vm_map_ram(&[], Protection::ReadWrite).expect_err("nothing"), 0);
    refused(vmalloc.ioremap(u64::MAX, 2, Cache::Uncached).expect_err("wraps"), 2);
    refused(vmalloc.ioremap(0, 0, Cache::Uncached).expect_err("nothing"), 0);
}

/// A purge says what waits and what became free, and each flush how much it flushes. Seen failing without
/// either of the calls of `trace_flush`.
#[test]
fn purges_and_flushes_are_traced_with_their_pages() {
    let machine = Machine::new(2, 2000);
    let vmalloc = traced(&machine, 8);
    let area = vmalloc.vmalloc(3 * PAGE_SIZE).expect("room");
    free(&vmalloc, area).expect("allocated");
    machine.take_events();
    vmalloc.purge();
    let few = |pages| {
        [
            Event::PurgeBegin { pages: pages as i64 },
            Event::Flush { pages: Some(pages) },
            Event::PurgeEnd { pages },
        ]
    };
    assert_eq!(machine.take_events(), few(4));
    let area = vmalloc.vmalloc(100 * PAGE_SIZE).expect("room");
    machine.take_events();
    protect(&vmalloc, address(area), 3, Protection::ReadOnly).expect("allocated");
    protect(&vmalloc, address(area), 34, Protection::ReadOnly).expect("allocated");
    assert_eq!(machine.take_events(), [Event::Flush { pages: Some(3) }, Event::Flush { pages: None }]);
    free(&vmalloc, area).expect("allocated");
    machine.take_events();
    vmalloc.purge();
    let all =
        [Event::PurgeBegin { pages: 101 }, Event::Flush { pages: None }, Event::PurgeEnd { pages: 101 }];
    assert_eq!(machine.take_events(), all);
    vmalloc.purge();
    assert_eq!(machine.take_events(), [Event::PurgeBegin { pages: 0 }, Event::PurgeEnd { pages: 0 }]);
}

/// Not by the interrupt handler: the area still has its address then.
#[test]
fn a_free_in_an_interrupt_is_traced_when_it_is_done() {
    let machine = Machine::new(1, 3000);
    let vmalloc = traced(&machine, 8);
    let areas = [3, 700].map(|pages| (vmalloc.vmalloc(pages * PAGE_SIZE).expect("room"), pages));
    for (area, pages) in areas {
        machine.take_events();
        machine.set_interrupt(true);
        free(&vmalloc, area).expect("allocated");
        machine.set_interrupt(false);
        assert_eq!(machine.take_events(), []);
        vmalloc.purge();
        let events = machine.take_events();
        assert!(matches!(events[0], Event::PurgeBegin { .. }));
        assert_eq!(events.iter().filter(|event| **event == freed(area, pages)).count(), 1);
    }
}

/// Whatever is done: what was allocated and not freed is what `areas` finds.
#[test]
fn allocations_without_frees_are_the_areas() {
    let machine = Machine::new(2, 20_000);
    let vmalloc = traced(&machine, 64);
    let mut random = Random::new(7);
    let mut live = BTreeMap::new();
    let mut areas = Vec::new();
    for _ in 0..3000 {
        machine.run_on(random.below(2));
        let most = random.pick(&[20, 20, 20, 20, 20, 600, 1100]);
        let pages = 1 + random.below(most);
        match random.below(4) {
            0 | 1 => areas.extend(vmalloc.vmalloc(pages * PAGE_SIZE)),
            2 if !areas.is_empty() => {
                let area = areas.swap_remove(random.below(areas.len()));
                free(&vmalloc, area).expect("allocated");
            }
            3 if !areas.is_empty() => {
                let index = random.below(areas.len());
                areas[index] = resize(&vmalloc, areas[index], pages).unwrap_or(areas[index]);
            }
            _ => {}
        }
        for event in machine.take_events() {
            match event {
                Event::Allocate { address, pages, .. } => assert_eq!(live.insert(address, pages), None),
                Event::Free { address, pages } => assert_eq!(live.remove(&address), Some(pages)),
                _ => {}
            }
        }
    }
    assert!(areas.len() > 20);
    let found: Vec<_> = vmalloc.areas().map(|area| (area.start, area.pages)).collect();
    assert_eq!(live.into_iter().collect::<Vec<_>>(), found);
}

#[test]
fn nothing_is_traced_unless_asked_for() {
    let machine = Machine::new(1, 3000);
    let vmalloc = instance(&machine, 8);
    let everything = || {
        for pages in [3, 700] {
            let area = vmalloc.vmalloc(pages * PAGE_SIZE).expect("room");
            let area = resize(&vmalloc, area, pages + 1).expect("room");
            free(&vmalloc, area).expect("allocated");
        }
        vmalloc.vmalloc(0).expect_err("nothing");
        vmalloc.purge();
        machine.take_events().len()
    };
    assert_eq!(everything(), 0);
    vmalloc.set_trace(true);
    assert!(everything() > 0);
    vmalloc.set_trace(false);
    assert_eq!(everything(), 0);
}

#[test]
fn an_event_is_one_line() {
    let caller = here();
    let (address, kind) = (START + BLOCK_SIZE, Kind::Vmap);
    let error = AllocError::NO_FRAMES;
    for (event, line) in [
        (
            Event::Allocate { address, pages: 3, kind, caller },
            format!("allocate {address:#x} pages=3 vmap {caller}"),
        ),
        (
            Event::AllocateFailed { error, size: 9, caller },
            format!("allocate_failed size=9 {caller}: {error}"),
        ),
        (Event::Free { address, pages: 3 }, format!("free {address:#x} pages=3")),
        (Event::PurgeBegin { pages: 12 }, "purge_begin waiting=12".into()),
        (Event::PurgeEnd { pages: 12 }, "purge_end freed=12".into()),
        (Event::Flush { pages: Some(2) }, "flush pages=2".into()),
        (Event::Flush { pages: None }, "flush all".into()),
    ] {
        assert_eq!(format!("{event}"), line);
    }
}
