//! What is traced is in the dump, whole, whoever writes meanwhile.

use alloc::{
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{
    hint,
    panic::Location,
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};
use kernel::{
    arch::{cpu, interrupts},
    console, memory,
    threads::{Builder, JoinHandle},
    trace::{self, RECORDS, Record, Who},
};
use vmalloc::{AllocError, Cache, Event, Frame, Kind, PAGE_SIZE};

const NOBODY: Who = Who { tag: [0; 16], id: 0 };

fn command(word: &str) {
    console::trace(&[word]).expect("memory enough");
}

/// The rings are there, empty, and only the test writes them.
fn empty_rings() {
    command("on");
    command("off");
    // Somebody may have looked before, and not written yet.
    kernel::threads::grace::synchronize();
    command("clear");
}

fn free(area: NonNull<u8>) {
    // SAFETY: tests free what they allocated, and use it no more.
    unsafe { memory::vmalloc().vfree(area) }.expect("allocated");
}

fn on_cpu(cpu: usize, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    Builder::new("tracer").on_cpu(cpu).spawn(body).expect("memory enough")
}

/// The last CPUs that are not isolated, two if there are.
fn last_two() -> Vec<usize> {
    let all: Vec<usize> = cpu::online().without(cpu::isolated()).iter().collect();
    all[all.len().saturating_sub(2)..].to_vec()
}

#[test_case]
fn what_is_done_is_in_the_dump_until_tracing_is_off() {
    command("on");
    command("clear");
    let line = line!() + 1;
    let area = memory::vmalloc().vmalloc(3 * PAGE_SIZE).expect("memory enough");
    let start = area.as_ptr() as usize;
    // SAFETY: the area is ours, and only where it is now is used.
    let longer = unsafe { memory::vmalloc().vrealloc(area, 700 * PAGE_SIZE) }.expect("memory enough");
    let longer_start = longer.as_ptr() as usize;
    free(longer);
    memory::vmalloc().vmalloc(0).expect_err("nothing");
    let (_, purge) = (memory::vmalloc().purge(), line!());
    command("off");
    let untraced = memory::vmalloc().vmalloc(5 * PAGE_SIZE).expect("memory enough");
    free(untraced);
    let dump: Vec<Record> = trace::dump().collect();
    assert!(dump.is_sorted_by_key(|record| record.time));
    assert!(dump.iter().all(|record| cpu::online().contains(record.cpu)));
    // The purge thread has events too.
    let ours = |event: &Event| match *event {
        Event::Allocate { address, caller, .. } => {
            assert_eq!(caller.file(), file!());
            [start, longer_start].contains(&address)
        }
        Event::Free { address, .. } => [start, longer_start].contains(&address),
        Event::AllocateFailed { .. } => true,
        _ => false,
    };
    let events: Vec<Event> = dump.iter().map(|record| record.event).filter(ours).collect();
    match events[..] {
        [
            Event::Allocate { address, pages: 3, size: 12288, align: 4096, kind: Kind::Vmalloc, caller },
            Event::Free { address: moved, pages: 3, kind: Kind::Vmalloc, .. },
            Event::Allocate { address: to, pages: 700, .. },
            Event::Free { address: freed, pages: 700, caller: freed_by, .. },
            Event::AllocateFailed { error: AllocError::ZeroSize, size: 0, .. },
        ] => {
            assert_eq!((address, moved), (start, start));
            assert_eq!((to, freed), (longer_start, longer_start));
            assert_eq!((caller.line(), freed_by.file()), (line, file!()));
        }
        _ => panic!("{events:?}"),
    }
    // The test's own thread: its purge, and what that flushes.
    let this = dump.iter().find(|record| ours(&record.event)).expect("there is one").who;
    assert!(this.id > 0 && !this.name().is_empty(), "{this:?}");
    let mut callers =
        dump.iter().filter(|record| record.who == this).filter_map(|record| match record.event {
            Event::PurgeBegin { caller, .. } => Some((caller.file(), caller.line())),
            _ => None,
        });
    assert_eq!(callers.next_back(), Some((file!(), purge)));
    let index = |wanted: fn(&Event) -> bool| dump.iter().rposition(|record| wanted(&record.event));
    let flush = index(|event| matches!(event, Event::Flush { .. })).expect("flushed");
    let end = index(|event| matches!(event, Event::PurgeEnd { .. })).expect("purged");
    assert!(flush < end, "the purge flushed");
    command("dump");
    command("clear");
    assert_eq!(trace::dump().count(), 0);
}

#[test_case]
fn every_event_comes_back_as_it_was() {
    empty_rings();
    let caller = Location::caller();
    let mut events: Vec<Event> = [
        AllocError::ZeroSize,
        AllocError::TooLarge { size: usize::MAX },
        AllocError::BadAlignment { align: 3 },
        AllocError::OutOfAddressSpace { size: 1 << 45, align: 1 << 46, longest: 1 << 24 },
        AllocError::OutOfFrames { needed: 1 << 33, free: 5 },
        AllocError::BadRange { start: 1, end: 2 },
        AllocError::NoFrames,
        AllocError::BadPhysicalRange { start: 7, size: 8 },
        AllocError::BadFrame { frame: Frame::new(9) },
        AllocError::CachedElsewhere { frame: Frame::new(10) },
        AllocError::NoMemoryType { cache: Cache::Uncached },
        AllocError::NoAccess,
        AllocError::InInterrupt,
    ]
    .map(|error| Event::AllocateFailed { error, size: 9, align: 3, kind: Kind::Vmap, caller })
    .to_vec();
    let kinds = [Kind::Vmalloc, Kind::Vmap, Kind::Ioremap, Kind::VmMapRam, Kind::Congruent];
    events.extend(kinds.map(|kind| Event::Allocate {
        address: usize::MAX,
        pages: 1 << 33,
        size: usize::MAX,
        align: 3,
        kind,
        caller,
    }));
    events.extend([
        Event::Free { address: 1, pages: 2, kind: Kind::Ioremap, waiting: -3, caller },
        Event::PurgeBegin { pages: -5, caller },
        Event::PurgeEnd { pages: 6 },
        Event::Flush { pages: Some(7), caller },
        Event::Flush { pages: None, caller },
        Event::UnmapAliases { caller },
    ]);
    let who = Who { tag: *b"a name of sixtee", id: u32::MAX };
    events.iter().for_each(|&event| trace::record(event, who));
    let dump: Vec<_> = trace::dump().map(|record| (record.who, record.event)).collect();
    assert_eq!(dump, events.into_iter().map(|event| (who, event)).collect::<Vec<_>>());
    command("clear");
}

#[test_case]
fn the_oldest_events_are_overwritten_and_counted() {
    empty_rings();
    let extra = 100;
    (0..RECORDS + extra).for_each(|number| trace::record(Event::PurgeEnd { pages: number }, NOBODY));
    let mut dump = trace::dump();
    let kept: Vec<Event> = dump.by_ref().map(|record| record.event).collect();
    assert!(kept.into_iter().eq((extra..RECORDS + extra).map(|pages| Event::PurgeEnd { pages })));
    assert_eq!(dump.overwritten(), extra as u64);
    command("clear");
    let mut dump = trace::dump();
    assert_eq!((dump.by_ref().count(), dump.overwritten()), (0, 0));
}

/// Each event says its number twice.
fn numbered(number: usize, caller: &'static Location<'static>) -> Event {
    if number.is_multiple_of(2) {
        Event::Free { address: number, pages: number, kind: Kind::Vmap, waiting: 0, caller }
    } else {
        Event::Allocate { address: number, pages: number, size: number, align: 1, kind: Kind::Vmap, caller }
    }
}

/// The rings are read where they are just written: at their oldest records. Seen failing without the second
/// look at the sequence number.
#[test_case]
fn what_others_overwrite_meanwhile_is_never_shown_torn() {
    const DUMPS: usize = 40;
    empty_rings();
    let caller = Location::caller();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = last_two()
        .into_iter()
        .map(|number| {
            let stop = Arc::clone(&stop);
            on_cpu(number, move || {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    trace::record(
                        numbered(number, caller),
                        Who { tag: [number as u8; 16], id: number as u32 },
                    );
                    number += 1;
                }
            })
        })
        .collect();
    for _ in 0..DUMPS {
        let (mut time, mut seen) = (0, [None; kernel::arch::cpu::MAX_CPUS]);
        for record in trace::dump() {
            let (Event::Free { address, pages, .. } | Event::Allocate { address, pages, .. }) = record.event
            else {
                panic!("{record:?}");
            };
            assert_eq!(address, pages, "torn: {record:?}");
            assert_eq!(record.event, numbered(address, caller), "torn");
            let who = Who { tag: [address as u8; 16], id: address as u32 };
            assert_eq!(record.who, who, "torn");
            assert!(record.time >= time && seen[record.cpu] < Some(address), "in order: {record:?}");
            (time, seen[record.cpu]) = (record.time, Some(address));
        }
    }
    stop.store(true, Ordering::Relaxed);
    writers.into_iter().for_each(|writer| writer.join());
    command("clear");
}

/// Another CPU interrupts this one while it records, and the handler records too. Seen failing when records
/// are written with interrupts on: of 200000 hundreds were lost.
#[test_case]
fn no_event_is_lost_to_an_interrupt_in_between() {
    const CALLS: usize = 2000;
    static HANDLED: AtomicUsize = AtomicUsize::new(0);
    fn handler() {
        trace::record(Event::PurgeEnd { pages: 1 }, NOBODY);
        HANDLED.fetch_add(1, Ordering::Relaxed);
    }
    empty_rings();
    HANDLED.store(0, Ordering::Relaxed);
    let this = cpu::current();
    let other = last_two().into_iter().find(|&number| number != this).unwrap_or(this);
    let caller = on_cpu(other, move || (0..CALLS).for_each(|_| interrupts::call_on(this, handler)));
    let mut recorded = 0;
    while HANDLED.load(Ordering::Relaxed) < CALLS {
        trace::record(Event::PurgeEnd { pages: recorded }, NOBODY);
        recorded += 1;
        hint::spin_loop();
    }
    caller.join();
    let mut dump = trace::dump();
    let shown = dump.by_ref().count();
    assert_eq!(shown as u64 + dump.overwritten(), (recorded + CALLS) as u64);
    command("clear");
}

#[test_case]
fn wrong_arguments_of_trace_are_named() {
    let refusal = |words: &[&str]| -> String { console::trace(words).expect_err("wrong").to_string() };
    assert_eq!(refusal(&[]), "takes one argument: on, purges, off, dump, clear or stream");
    assert_eq!(refusal(&["start"]), "start: no such argument");
    assert_eq!(refusal(&["steam"]), "steam: no such argument; did you mean stream?");
    assert_eq!(refusal(&["dump", "format=json"]), "json: no such format");
    assert_eq!(refusal(&["dump", "format=ftrac"]), "ftrac: no such format; did you mean ftrace?");
    assert_eq!(refusal(&["dump", "ftrace"]), "dump ftrace: takes format=text, ftrace or perfetto");
    assert_eq!(refusal(&["on", "off"]), "takes one argument, not off too");
    assert!(!memory::vmalloc().is_traced());
}
