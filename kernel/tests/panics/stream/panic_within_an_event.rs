//! A panic while another CPU writes a streamed event: those before it are sent, it is not, and is counted.
//! Seen failing: with the lock left closed the machine hung; with what was written of the event sent; with it not counted.
#![no_std]
#![no_main]

use core::{
    fmt,
    hint::spin_loop,
    sync::atomic::{AtomicBool, Ordering},
};
use kernel::{
    arch::cpu,
    println,
    threads::Builder,
    trace::{Who, ftrace::Ftrace, stream},
};

protocol::test_kernel!("a_panic_leaves_out_the_event_that_is_written_just_now");
kernel::entry!(main);

static WRITING: AtomicBool = AtomicBool::new(false);

fn main() -> ! {
    if cpu::online().count() < 2 {
        kernel::testing::expect_panic(TEST, "nobody would be stopped");
        panic!("left out on one CPU: nobody would be stopped");
    }
    kernel::testing::expect_panic(TEST, "sent vmalloc_whole: 1 and # 2 events, 1 of them lost");
    assert!(stream::open(take, Ftrace::new(0x1000..0x2000, 7)));
    let writer = Builder::new("streamer").on_cpu(1).spawn(|| {
        stream::note(Who::default(), format_args!("vmalloc_whole: 1"));
        stream::note(Who::default(), format_args!("vmalloc_cut: {Endless}"));
    });
    while !WRITING.load(Ordering::Acquire) {
        spin_loop();
    }
    panic!("while CPU 1 writes: {}", writer.is_ok());
}

/// What is never written to its end.
struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        WRITING.store(true, Ordering::Release);
        loop {
            spin_loop();
        }
    }
}

fn take(page: &[u8]) -> bool {
    let text = core::str::from_utf8(page).unwrap_or("no text\n");
    // What stands behind the events' times, and the last line.
    let is_last = |line: &&str| line.ends_with("lost");
    let mut lines = text
        .lines()
        .filter_map(|line| line.find("vmalloc_").map(|at| &line[at..]).or(Some(line).filter(is_last)));
    if let (Some(event), Some(end), None) = (lines.next(), lines.next(), lines.next()) {
        println!("sent {event} and {end}");
    }
    true
}
