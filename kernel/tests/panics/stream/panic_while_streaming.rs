//! A panic while another CPU hands a page of streamed events to its device: the page arrives, and what comes behind it, but the
//! event that did not fit the page.
//! Seen failing: with the CPU stopped within, the report said that events may be missing.
#![no_std]
#![no_main]

use core::{
    hint::spin_loop,
    panic::Location,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};
use kernel::{
    arch::{cpu, tsc},
    println,
    threads::Builder,
    trace::{self, Who, ftrace::Ftrace, stream},
};
use vmalloc::Event;

protocol::test_kernel!("a_panic_sends_what_is_streamed_just_now");
kernel::entry!(main);

static SENDING: AtomicBool = AtomicBool::new(false);
static PANICKING: AtomicBool = AtomicBool::new(false);
static ARRIVED: AtomicU64 = AtomicU64::new(0);

fn main() -> ! {
    if cpu::online().count() < 2 {
        kernel::testing::expect_panic(TEST, "nobody would be stopped");
        panic!("left out on one CPU: nobody would be stopped");
    }
    kernel::testing::expect_panic(TEST, "all have arrived but 1");
    assert!(stream::open(take, Ftrace::new(0x1000..0x2000, 7)));
    let writer = Builder::new("streamer").on_cpu(1).spawn(|| {
        let caller = Location::caller();
        for pages in 0.. {
            trace::record(Event::PurgeBegin { pages, caller }, Who::default());
        }
    });
    while !SENDING.load(Ordering::Acquire) {
        spin_loop();
    }
    PANICKING.store(true, Ordering::Release);
    panic!("while CPU 1 sends: {}", writer.is_ok());
}

/// A device that is slow with the first page.
fn take(page: &[u8]) -> bool {
    if !SENDING.swap(true, Ordering::AcqRel) {
        while !PANICKING.load(Ordering::Acquire) {
            spin_loop();
        }
        // The panic tells this CPU to stop.
        tsc::spin_until(20_000, || false);
    }
    let Ok(text) = core::str::from_utf8(page) else { return false };
    let events =
        text.lines().filter(|line| line.contains("vmalloc_purge_begin: (") && line.contains("waiting="));
    let arrived = ARRIVED.fetch_add(events.count() as u64, Ordering::Relaxed);
    let numbers = text
        .lines()
        .find_map(|line| line.strip_prefix("# ")?.strip_suffix(" of them lost")?.split_once(" events, "));
    if let Some((events, lost)) = numbers
        && let (Ok(events), Ok(lost)) = (events.parse::<u64>(), lost.parse::<u64>())
        && events == ARRIVED.load(Ordering::Relaxed) + lost
        && arrived > 0
    {
        println!("all have arrived but {lost}");
    }
    text.ends_with('\n')
}
