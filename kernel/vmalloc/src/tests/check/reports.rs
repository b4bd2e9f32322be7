//! What a check reports, and what it asks of a machine that is right, or nearly so.

extern crate std;

use super::{
    promises::{FRAMES, REGISTERS, run},
    wrong::Bug,
};
use crate::{
    Frame, Platform,
    check::{Promise, Registers, Seen},
    tests::{machine::Machine, support::START},
};
use core::sync::atomic::Ordering;
use std::string::ToString;

/// A machine of one CPU without a 2 MiB frame: of all that a check can leave out nothing is tried.
#[test]
fn a_report_tells_what_was_tried_and_what_was_not() {
    let mut report = run(&Machine::new(1, 40), Bug::None, REGISTERS, false).expect("right");
    let text = "CPU 0 of {0} online: 38 frames were taken and given back, 0 CPUs answered, a grace period passed; \
                not tried: whether a pin keeps other threads off its CPU; whether synchronize tells the truth; other \
                CPUs' page tables and flushes, which a check on each of them tries; whether others leave the range \
                alone; whether is_ram is right about frames that were not taken; interrupts, as no other CPU is \
                online, or the machine broadcasts; 2 MiB frames, of which none was to be had; the page tables of the \
                direct map, as the machine is simulated";
    assert_eq!(report.to_string(), text);
    report.grace = false;
    let text = text.replace("a grace period passed", "no grace period was waited for");
    assert_eq!(report.to_string(), text);
}

#[test]
fn what_is_read_at_a_page_is_told_and_so_is_a_fault() {
    let text =
        |read| Seen::OtherBytes { frame: Frame::new(0x1001), address: START, written: 5, read }.to_string();
    let start = "0x5 was written to frame 0x1001000 by the direct map, and a page mapped to that frame at \
                 0xffffc90040c00000 has ";
    assert_eq!(text(Some(0x77)).strip_prefix(start), Some("0x77"));
    assert_eq!(text(None).strip_prefix(start), Some("nothing: the CPU faults"));
}

/// Each is asked for the one page, and to flush everything at the end. Seen failing with an empty range asked for, with
/// the current CPU taken for CPU 1, and with the current CPU's own flush left out.
#[test]
fn every_other_cpu_is_interrupted_to_flush_the_page_that_was_tried() {
    let machine = &Machine::new(4, FRAMES);
    run(machine, Bug::None, REGISTERS, false).expect("right");
    let shootdown = Platform::shootdown(&machine);
    let received = [0, 1, 2, 3].map(|cpu| shootdown.counters(cpu).received.load(Ordering::Relaxed));
    assert_eq!(received, [0, 2, 2, 2]);
    // The current CPU flushed it eight times before, each time that it was mapped anew.
    assert_eq!(machine.page_flushes(), 8 + 4);
}

/// Just as many as are free, or fewer, were asked for. What was taken is given back. Seen failing where that was called
/// a lack of memory.
#[test]
fn a_machine_that_says_it_has_enough_and_gives_less_is_broken() {
    for (frames, bug) in [(32, Bug::NoMoreFrames), (FRAMES, Bug::NoTable)] {
        let machine = Machine::new(1, frames);
        let broken = run(&machine, bug, REGISTERS, false).expect_err("it is wrong");
        assert_eq!((broken.promise, machine.free_frames()), (Promise::Counts, frames), "{broken}");
    }
}

/// What marks frame 0 is not zero. Seen failing with marks that are the frames' numbers alone.
#[test]
fn a_frame_0_that_is_zeroed_behind_its_owner_is_seen() {
    let machine = &Machine::from_frame_zero(1, FRAMES);
    let registers = Registers { root: machine.root(), ..REGISTERS };
    let broken = run(machine, Bug::FrameZeroZeroed, registers, false).expect_err("it is wrong");
    assert!(matches!(broken.seen, Seen::Lost { frame, read: 0, .. } if frame == Frame::new(0)), "{broken}");
}
