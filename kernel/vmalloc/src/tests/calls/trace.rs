//! Trace points on the simulated machine, which keeps the events.

extern crate std;

use crate::{
    AllocError, BLOCK_SIZE, Cache, CongruentArea, Event, Kind, PAGE_SIZE, Platform, Protection, Request,
    Returned, Vmalloc,
    tests::{
        machine::{Machine, Random},
        support::{START, address, flushing, free, instance, protect, resize, take, unmap},
    },
};
use core::{panic::Location, ptr::NonNull, sync::atomic::Ordering};
use std::{collections::BTreeMap, format, string::String, vec::Vec};

fn traced(machine: &Machine, blocks: usize) -> Vmalloc<&Machine> {
    let vmalloc = instance(machine, blocks);
    vmalloc.set_trace(true);
    vmalloc
}

/// The only event is that an area is freed, or resized, by a call in the line behind `before`.
fn assert_freed(machine: &Machine, start: usize, pages: usize, kind: Kind, before: &Location<'_>) {
    match machine.take_events()[..] {
        [event] => is_free(event, start, pages, kind, before),
        ref events => panic!("{events:?}"),
    }
}

fn is_free(event: Event, start: usize, pages: usize, kind: Kind, before: &Location<'_>) {
    let Event::Free { address, pages: count, kind: freed, caller, .. } = event else { panic!("{event:?}") };
    assert_eq!((address, count, freed), (start, pages, kind));
    assert_eq!((caller.file(), caller.line()), (before.file(), before.line() + 1));
}

/// The only event is that an area was made, by a call in the line behind `before`.
fn assert_made(machine: &Machine, area: NonNull<u8>, pages: usize, kind: Kind, before: &Location<'_>) {
    match machine.take_events()[..] {
        [Event::Allocate { address: start, pages: count, kind: made, caller, .. }] => {
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

/// Seen failing without the call to `trace_free`, with it for areas of other kinds too, and where a fast path is taken
/// although the instance is traced.
#[test]
fn each_way_to_make_and_to_free_an_area_is_traced_once() {
    let machine = Machine::new(2, 8000);
    let vmalloc = traced(&machine, 32);
    for pages in [1, 3, 511, 512, 700, 1024] {
        let before = here();
        let area = vmalloc.vmalloc(pages * PAGE_SIZE - 7).expect("room");
        assert_made(&machine, area, pages, Kind::Vmalloc, before);
        let before = here();
        free(&vmalloc, area).expect("allocated");
        assert_freed(&machine, address(area), pages, Kind::Vmalloc, before);
        assert!(free(&vmalloc, area).is_err());
        assert_eq!(machine.take_events(), [], "nothing was freed");

        let before = here();
        let area = vmalloc.allocate(Request::new(pages * PAGE_SIZE).huge().zeroed()).expect("room");
        assert_made(&machine, area, pages, Kind::Vmalloc, before);
        let before = here();
        free(&vmalloc, area).expect("allocated");
        assert_freed(&machine, address(area), pages, Kind::Vmalloc, before);

        let frames = take(&machine, pages);
        let before = here();
        let area = vmalloc.vmap(&frames, Protection::ReadWrite).expect("room");
        assert_made(&machine, area, pages, Kind::Vmap, before);
        assert!(free(&vmalloc, area).is_err());
        assert_eq!(machine.take_events(), [], "of another kind");
        let before = here();
        unmap(&vmalloc, area).expect("mapped");
        assert_freed(&machine, address(area), pages, Kind::Vmap, before);
        assert!(unmap(&vmalloc, area).is_err());

        let before = here();
        let area = vmalloc.vm_map_ram(&frames, Protection::ReadWrite).expect("room");
        assert_made(&machine, area, pages, Kind::VmMapRam, before);
        // SAFETY: simulated memory.
        assert!(unsafe { vmalloc.vm_unmap_ram(area, pages + 1) }.is_err());
        assert_eq!(machine.take_events(), []);
        let before = here();
        // SAFETY: simulated memory.
        unsafe { vmalloc.vm_unmap_ram(area, pages) }.expect("mapped");
        let [event] = machine.take_events()[..] else { panic!("one event") };
        let Event::Free { caller, .. } = event else { panic!("{event:?}") };
        assert_eq!(caller.line(), before.line() + 2);
        let before = here();
        vmalloc.vm_unmap_aliases();
        for event in machine.take_events() {
            match event {
                Event::UnmapAliases { caller }
                | Event::PurgeBegin { caller, .. }
                | Event::Flush { caller, .. } => assert_eq!(caller.line(), before.line() + 1, "{event}"),
                Event::PurgeEnd { .. } => {}
                _ => panic!("{event}"),
            }
        }
        (&machine).give_frames(Returned::new(frames.into_iter()));

        let size = pages * PAGE_SIZE;
        let before = here();
        let registers = vmalloc.ioremap(0xfee0_0ff0, size, Cache::Uncached).expect("room");
        assert_made(&machine, registers, pages + 1, Kind::Ioremap, before);
        let before = here();
        unmap(&vmalloc, registers).expect("mapped");
        assert_freed(&machine, address(registers) - 0xff0, pages + 1, Kind::Ioremap, before);
        vmalloc.trim();
        machine.take_events();
    }
}

/// Seen failing for each of the calls of `trace_resized` alone.
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
        let before = here();
        let now = resize(&vmalloc, area, new).expect("room");
        let mut events = machine.take_events();
        for event in &events {
            if let Event::Flush { caller, .. } = event {
                assert_eq!((caller.file(), caller.line()), (before.file(), before.line() + 1), "{event}");
            }
        }
        events.retain(|event| !matches!(event, Event::Flush { .. }));
        assert_eq!(events.len(), 2, "{pages} to {new}: {events:?}");
        is_free(events[0], address(area), pages, Kind::Vmalloc, before);
        assert!(matches!(events[1], Event::Allocate { address: start, pages, size, kind: Kind::Vmalloc, .. }
                if (start, pages, size) == (address(now), new, new * PAGE_SIZE)));
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

/// A purge says what waits and what became free, each flush how much it flushes, and both who called, whether all is
/// traced or only these. Seen failing without either of the calls of `trace_purging`.
#[test]
fn purges_and_flushes_are_traced_with_their_pages_and_callers() {
    for all in [true, false] {
        let machine = Machine::new(2, 2000);
        let vmalloc = flushing(&machine, 8);
        vmalloc.set_trace(all);
        vmalloc.set_trace_purges(!all);
        let area = vmalloc.vmalloc(3 * PAGE_SIZE).expect("room");
        free(&vmalloc, area).expect("allocated");
        assert_eq!(machine.take_events().len(), if all { 2 } else { 0 });
        let (_, caller) = (vmalloc.purge(), here());
        let purge = |pages, flushed| {
            [
                (format!("purge_begin waiting={pages}"), true),
                (format!("flush {flushed}"), true),
                (format!("purge_end freed={pages}"), false),
            ]
        };
        let are = |expected: &[(String, bool)], caller: &Location<'_>| {
            let place = format!("{}:{}:", caller.file(), caller.line());
            let events: Vec<String> = machine.take_events().iter().map(|event| format!("{event}")).collect();
            assert_eq!(events.len(), expected.len(), "{events:?}");
            for (event, (what, tells_caller)) in events.iter().zip(expected) {
                assert!(event.starts_with(what.as_str()), "{event}: {what}");
                assert_eq!(event.contains(&place), *tells_caller, "{event}: {place}");
            }
        };
        are(&purge(4, "pages=4"), caller);
        let area = vmalloc.vmalloc(100 * PAGE_SIZE).expect("room");
        machine.take_events();
        for (pages, flushed) in [(3, "pages=3"), (34, "all")] {
            let (_, caller) = (protect(&vmalloc, address(area), pages, Protection::ReadOnly), here());
            are(&[(format!("flush {flushed}"), true)], caller);
        }
        free(&vmalloc, area).expect("allocated");
        machine.take_events();
        let (_, caller) = (vmalloc.purge(), here());
        are(&purge(101, "all"), caller);
        let (_, caller) = (vmalloc.purge(), here());
        are(&[("purge_begin waiting=0".into(), true), ("purge_end freed=0".into(), false)], caller);
    }
}

/// Who needs room purges: who allocates, frees, trims or shrinks is told as the caller. Seen failing with the place in the
/// library as the caller of what an allocation needs.
#[test]
fn whoever_causes_a_purge_is_told() {
    let machine = Machine::new(1, 4000);
    let vmalloc = flushing(&machine, 2);
    vmalloc.set_trace_purges(true);
    let purged_by = |what: &str, line: u32| {
        let events = machine.take_events();
        let callers = events.iter().filter_map(|event| match event {
            Event::PurgeBegin { caller, .. } | Event::Flush { caller, .. } => Some(caller),
            _ => None,
        });
        let callers: Vec<_> = callers.collect();
        assert!(!callers.is_empty(), "{what} purges");
        for caller in callers {
            assert_eq!((caller.file(), caller.line()), (file!(), line), "{what}");
        }
    };
    let fill = || vmalloc.vmalloc(2 * BLOCK_SIZE - PAGE_SIZE).expect("room");
    free(&vmalloc, fill()).expect("allocated");
    let (area, line) = (vmalloc.vmalloc(BLOCK_SIZE), line!());
    purged_by("an allocation", line);
    free(&vmalloc, area.expect("room")).expect("allocated");
    let (_, line) = (vmalloc.trim(), line!());
    purged_by("trim", line);
    free(&vmalloc, fill()).expect("allocated");
    let (_, line) = (vmalloc.shrink(usize::MAX), line!());
    purged_by("shrink", line);
    vmalloc.tunables().lazy_max_pages.store(1, Ordering::Relaxed);
    let area = vmalloc.vmalloc(600 * PAGE_SIZE).expect("room");
    let (_, line) = (free(&vmalloc, area), line!());
    purged_by("a free", line);
}

/// By the interrupt handler: who looks at the trace later finds who asked for it. Seen failing without the call to `trace_free`.
#[test]
fn a_free_in_an_interrupt_is_traced_there() {
    let machine = Machine::new(1, 3000);
    let vmalloc = traced(&machine, 8);
    let areas = [3, 700].map(|pages| (vmalloc.vmalloc(pages * PAGE_SIZE).expect("room"), pages));
    for (area, pages) in areas {
        machine.take_events();
        machine.set_interrupt(true);
        let before = here();
        free(&vmalloc, area).expect("allocated");
        machine.set_interrupt(false);
        assert_freed(&machine, address(area), pages, Kind::Vmalloc, before);
        vmalloc.purge();
        assert!(!machine.take_events().iter().any(|event| matches!(event, Event::Free { .. })), "once");
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
                Event::Free { address, pages, .. } => assert_eq!(live.remove(&address), Some(pages)),
                _ => {}
            }
        }
    }
    assert!(areas.len() > 20);
    let found: Vec<_> = vmalloc.areas().map(|area| (area.start, area.pages)).collect();
    assert_eq!(live.into_iter().collect::<Vec<_>>(), found);
}

/// Of a set each area is told where it lies, and a refusal once. Seen failing with other sums of base and offset.
#[test]
fn each_area_of_a_set_is_told_where_it_lies() {
    let machine = Machine::new(1, 3000);
    let vmalloc = traced(&machine, 12);
    let areas = [(0, 3), (2, 700), (6, 1)]
        .map(|(blocks, pages)| CongruentArea { offset: blocks * BLOCK_SIZE, size: pages * PAGE_SIZE });
    let set = vmalloc.allocate_congruent(&areas, 1).expect("room");
    let told = machine.take_events().into_iter().map(|event| match event {
        Event::Allocate { address, size, kind: Kind::Congruent, .. } => (address, size),
        _ => panic!("{event}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), areas.map(|area| (set.base() + area.offset, area.size)));
    vmalloc.vmalloc(2 * BLOCK_SIZE).expect("room");
    machine.take_events();
    vmalloc.allocate_congruent(&areas, 1).expect_err("there is no second place for it");
    let is_refusal = |event: &Event| matches!(event, Event::AllocateFailed { kind: Kind::Congruent, .. });
    assert_eq!(machine.take_events().iter().filter(|event| is_refusal(event)).count(), 1);
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
    let made = Event::Allocate { address, pages: 3, size: 9000, align: 4096, kind, caller };
    for (event, line) in [
        (made, format!("allocate {address:#x} pages=3 size=9000 align=4096 vmap {caller}")),
        (
            Event::AllocateFailed { error, size: 9, align: 3, kind, caller },
            format!("allocate_failed size=9 align=3 vmap {caller}: {error}"),
        ),
        (
            Event::Free { address, pages: 3, kind, waiting: -1, caller },
            format!("free {address:#x} pages=3 waiting=-1 vmap {caller}"),
        ),
        (Event::PurgeBegin { pages: 12, caller }, format!("purge_begin waiting=12 {caller}")),
        (Event::PurgeEnd { pages: 12 }, "purge_end freed=12".into()),
        (Event::Flush { pages: Some(2), caller }, format!("flush pages=2 {caller}")),
        (Event::Flush { pages: None, caller }, format!("flush all {caller}")),
        (Event::UnmapAliases { caller }, format!("unmap_aliases {caller}")),
    ] {
        assert_eq!(format!("{event}"), line);
    }
}
