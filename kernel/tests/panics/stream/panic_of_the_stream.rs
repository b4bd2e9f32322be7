//! A panic in what sends the streamed events: it is not called again, and the report says how many may be missing.
//! Seen failing: with the device used again.
#![no_std]
#![no_main]

use kernel::trace::{Who, ftrace::Ftrace, stream};

protocol::test_kernel!("a_panic_says_how_many_streamed_events_may_be_missing");
kernel::entry!(main);

fn main() -> ! {
    kernel::testing::expect_panic(TEST, "its last 3 events may be missing");
    assert!(stream::open(|_| panic!("no device"), Ftrace::new(0x1000..0x2000, 7)));
    for number in 0..3 {
        stream::note(Who::default(), format_args!("vmalloc_event: {number}"));
    }
    stream::close();
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
