//! The self-check, on machines that are right and on machines that are wrong in one thing.

extern crate std;

use super::wrong::{Bug, Wrong};
use crate::{
    BLOCK_SIZE, Flusher, Frame, NewError, PAGE_SIZE, Platform, Protection, Vmalloc,
    check::{self, Broken, Cpu, Flush, Promise, Registers, Report, Seen, Untried},
    page_table::{Attributes, Entry, directories},
    tests::{
        machine::Machine,
        support::{START, instance, take},
    },
    types::Owner,
};
use core::ops::Range;
use std::{string::ToString, vec::Vec};

pub(super) const FRAMES: usize = 2000;
const RANGE: Range<usize> = START..START + 64 * BLOCK_SIZE;

/// A CPU of a simulated machine.
struct SimulatedCpu<'a> {
    machine: &'a Wrong<'a>,
    registers: Registers,
    has_direct_map: bool,
}

impl Cpu for SimulatedCpu<'_> {
    unsafe fn read(&self, address: usize) -> Option<u64> {
        let machine = self.machine.machine;
        machine.read(machine.here(), address).ok()
    }

    fn registers(&self) -> Registers {
        self.registers
    }

    fn takes_interrupts(&self) -> bool {
        self.machine.interrupts_on.get()
    }

    fn has_direct_map(&self) -> bool {
        self.has_direct_map
    }

    fn patience(&self) -> u64 {
        100
    }
}

pub(super) const REGISTERS: Registers = Registers {
    root: Frame::new(0x1000),
    write_protect: true,
    no_execute: true,
    five_levels: false,
    physical_bits: 40,
};

/// Checks a machine on the CPU that runs.
pub(super) fn run(
    machine: &Machine,
    bug: Bug,
    registers: Registers,
    has_direct_map: bool,
) -> Result<Report, Broken> {
    let machine = &Wrong::new(machine, bug);
    let cpu = SimulatedCpu { machine, registers, has_direct_map };
    // SAFETY: simulated memory.
    unsafe { check::platform_on(&cpu, machine, RANGE, |_| ()) }
}

fn run_on(cpus: usize, cpu: usize, bug: Bug) -> Broken {
    let machine = Machine::new(cpus, FRAMES);
    let wrong = Wrong::new(&machine, bug);
    machine.run_on(cpu);
    let cpu = SimulatedCpu { machine: &wrong, registers: REGISTERS, has_direct_map: false };
    // SAFETY: simulated memory.
    unsafe { check::platform_on(&cpu, &wrong, RANGE, |_| ()) }.expect_err("it is wrong")
}

/// Maps the host's memory of a machine in its page tables: each frame's page to what `shown` says, with these rights.
fn map_direct(machine: &Machine, protection: Protection, shown: impl Fn(Frame) -> Option<Frame>) {
    let machine = &machine;
    let attributes = Attributes::new(protection, Owner::Caller);
    let first = machine.root().number();
    for frame in (first..=first + FRAMES as u64).map(Frame::new) {
        let address = machine.direct_map(frame).as_ptr() as usize;
        let slot = directories::make_block_entry(machine, address).expect("enough");
        if !slot.is_present() {
            slot.set(Entry::table(machine.take_table().expect("enough")));
        }
        // SAFETY: it links a table.
        let leaf = unsafe { directories::table(machine, slot.get().frame()) };
        if let Some(frame) = shown(frame) {
            leaf[address / PAGE_SIZE % 512].set(Entry::page(frame, attributes));
        }
    }
}

/// Each CPU of each machine; all that was taken came back, no CPU remembers anything, and an instance can be made.
#[test]
fn a_machine_that_keeps_its_promises_passes_on_every_cpu() {
    for cpus in [1, 2, 4] {
        for (broadcasts, maps) in [(false, false), (true, false), (false, true), (true, true)] {
            let machine =
                if broadcasts { Machine::broadcasting(cpus, FRAMES) } else { Machine::new(cpus, FRAMES) };
            if maps {
                map_direct(&machine, Protection::ReadWrite, Some);
            }
            let free = machine.free_frames();
            for cpu in 0..cpus {
                machine.run_on(cpu);
                let report =
                    run(&machine, Bug::None, REGISTERS, maps).unwrap_or_else(|broken| panic!("{broken}"));
                assert_eq!(machine.free_frames(), free, "it takes nothing");
                assert_eq!((report.cpu, report.online.count(), report.grace), (cpu, cpus, true));
                assert_eq!(report.frames, 32 + 6 + 512);
                assert_eq!(report.answered, if broadcasts { 0 } else { cpus - 1 });
                let untried: Vec<_> = report.untried().collect();
                assert_eq!(untried.contains(&Untried::Tables), !maps);
                assert_eq!(untried.contains(&Untried::Interrupts), broadcasts || cpus == 1);
                machine.check();
                assert_eq!((0..cpus).find(|&cpu| machine.read(cpu, START).is_ok()), None);
            }
            drop(instance(&machine, 64));
        }
    }
}

/// The promise, and what was seen, in the words of the report.
#[test]
fn each_wrong_platform_is_named() {
    // The machine has some CPUs, and the check runs on the last one.
    for (bug, cpus, promise, seen) in [
        (Bug::InInterrupt, 1, Promise::InInterrupt, "in_interrupt() returned true"),
        (Bug::PinAlwaysZero, 2, Promise::Pins, "pin().cpu() returned 0, and here() 1, on one CPU"),
        (Bug::NoPin, 1, Promise::Pins, "pin_outside_interrupts() returned None"),
        (Bug::HereTooHigh, 1, Promise::Here, "here() returned 1, and shootdown() has 1 CPUs"),
        (Bug::NotOnline, 1, Promise::Online, "CPU 0 is not online, CPUs {} are"),
        (Bug::OnlyTheFirstOnline, 3, Promise::Online, "CPU 2 is not online, CPUs {0} are"),
        (Bug::NeverRuns, 1, Promise::Uninterrupted, "uninterrupted() did not call its closure"),
        (Bug::NeverRunsNested, 1, Promise::Uninterrupted, "uninterrupted() did not call its closure"),
        (Bug::InterruptsStayOn, 2, Promise::Uninterrupted, "interrupts are on within uninterrupted()"),
        (Bug::InterruptsStayOff, 2, Promise::Uninterrupted, "interrupts are not as they were before"),
        (Bug::OtherRoot, 1, Promise::Root, "root() returned 0x1001000, but CR3 has 0x1000000"),
        (Bug::TooFewBits, 1, Promise::PhysicalBits, "physical_bits() returned 24, and CPUID says 40"),
        (Bug::CountTooHigh, 1, Promise::Counts, "take_frames(32) returned 33, and gave the sink 32 frames"),
        (
            Bug::OneFrameTooMany,
            1,
            Promise::Counts,
            "take_frames(32) returned 33, and gave the sink 33 frames",
        ),
        (Bug::NoMoreFrames, 1, Promise::Counts, "16 of 32 frames were to be had"),
        (Bug::MoreFreeThanThereAre, 1, Promise::Counts, "free_frames() returned 2000, and total_frames() 1"),
        (Bug::FreeFramesHidden, 1, Promise::Counts, "free_frames() returned 3, and 32 frames could be taken"),
        (Bug::FrameTwice, 1, Promise::Frames, "frame 0x1014000 was given out again"),
        (Bug::RootGivenOut, 1, Promise::Frames, "frame 0x1000000 was given out again"),
        (
            Bug::FrameBeyondBits,
            1,
            Promise::PhysicalBits,
            "frame 0x10000000000 was taken, and physical_bits() returned 40",
        ),
        (Bug::NotRam, 1, Promise::Ram, "is_ram() returned false for frame 0x1001000"),
        (
            Bug::DirectMapOffByAPage,
            1,
            Promise::DirectMap,
            "was written to frame 0x1020000 by the direct map at 0x",
        ),
        (Bug::DirectMapMoves, 1, Promise::DirectMap, "for frame 0x1001000, and then 0x"),
        (Bug::DirectMapInsideOfPages, 1, Promise::DirectMap, "no page starts there"),
        (Bug::DirectMapShowsOneForTwo, 1, Promise::DirectMap, "is read there"),
        (Bug::EndsNotKept, 1, Promise::DirectMap, "and 0x0 is read there"),
        (
            Bug::FrameOfOffByOne,
            1,
            Promise::DirectMap,
            "for frame 0x1001000, and frame_of() 0x1002000 for that",
        ),
        (
            Bug::FrameOfRoundsUp,
            1,
            Promise::DirectMap,
            "for frame 0x1001000, and frame_of() 0x1002000 for that",
        ),
        (
            Bug::TablesNotZeroed,
            1,
            Promise::Tables,
            "take_table() returned 0x1021000, which has 0xa5a5a5a5a5a5a5a5 at byte 0x0",
        ),
        (
            Bug::TablesZeroOnce,
            1,
            Promise::Tables,
            "take_table() returned 0x1021000, which has 0xa5a5a5a5a5a5a5a5 at byte 0x0",
        ),
        (Bug::TableIsAFrame, 1, Promise::Frames, "frame 0x1020000 was given out again"),
        (Bug::HugeNotAligned, 1, Promise::Frames, "the 2 MiB frame at 0x1208000 is not aligned"),
        (Bug::HugeIsTaken, 1, Promise::Frames, "frame 0x1001000 was given out again"),
        (
            Bug::FlushPageNot,
            2,
            Promise::Flushes,
            "after flush_page(), CPU 1 reads frame 0x1001000 at 0xffffc90040c00000, which was mapped to 0x1002000 before",
        ),
        (Bug::FlushPageElsewhere, 1, Promise::Flushes, "after flush_page(), CPU 0 reads frame 0x1001000"),
        (Bug::FlushAllNot, 1, Promise::Flushes, "after flush_all(), CPU 0 reads frame 0x1001000"),
        (
            Bug::InterruptsLost,
            2,
            Promise::Interrupts,
            "CPU 0 was interrupted and did not call Shootdown::answer",
        ),
        (
            Bug::OneInterruptLost,
            5,
            Promise::Interrupts,
            "CPU 2 was interrupted and did not call Shootdown::answer",
        ),
        (
            Bug::WaitDoesNotWait,
            2,
            Promise::Waits,
            "wait() for CPU 0 returned before done() had returned true",
        ),
        (Bug::WaitGivesUp, 3, Promise::Waits, "wait() for CPU 0 returned before done() had returned true"),
    ] {
        let broken = run_on(cpus, cpus - 1, bug);
        let text = broken.to_string();
        assert_eq!(broken.promise, promise, "{bug:?}: {text}");
        assert!(text.contains(seen) && text.contains(&promise.to_string()), "{bug:?}: {text}");
    }
}

#[test]
fn a_broadcast_that_does_not_flush_is_named() {
    for (bug, flush) in
        [(Bug::BroadcastPagesNot, Flush::BroadcastPages), (Bug::BroadcastAllNot, Flush::BroadcastAll)]
    {
        let broken = run(&Machine::broadcasting(2, FRAMES), bug, REGISTERS, false).expect_err("it is wrong");
        assert!(matches!(broken.seen, Seen::Stale { flush: seen, .. } if seen == flush), "{broken}");
        assert_eq!(broken.promise, Promise::Flushes);
    }
}

#[test]
fn what_the_page_tables_have_of_the_direct_map_is_seen() {
    let seen = |protection, shown: fn(Frame) -> Option<Frame>| {
        let machine = Machine::new(1, FRAMES);
        map_direct(&machine, protection, shown);
        let free = machine.free_frames();
        let broken = run(&machine, Bug::None, REGISTERS, true).expect_err("it is wrong");
        assert_eq!(broken.promise, Promise::DirectMap);
        (broken.seen, free - machine.free_frames())
    };
    let (root, next) = (REGISTERS.root, Frame::new(0x1001));
    // Of the top level table, before anything is taken.
    let off = seen(Protection::ReadWrite, |frame| Some(Frame::new(frame.number() + 1)));
    assert!(
        matches!(off, (Seen::OtherFrame { frame, mapped, .. }, 0) if (frame, mapped) == (root, next)),
        "{off:x?}"
    );
    let none = seen(Protection::ReadWrite, |_| None);
    assert!(matches!(none, (Seen::NotMapped { frame, .. }, 0) if frame == root), "{none:x?}");
    let fixed = seen(Protection::ReadOnly, Some);
    assert!(matches!(fixed, (Seen::ReadOnly { frame, .. }, 0) if frame == root), "{fixed:x?}");
    // Of a frame that is taken: the last 500 are where the 2 MiB frame is.
    let hole = seen(Protection::ReadWrite, |frame| (frame.number() < 0x1300).then_some(frame));
    assert!(matches!(hole, (Seen::NotMapped { frame, .. }, _) if frame.number() == 0x1300), "{hole:x?}");
    // The tables are found by the direct map, which is wrong.
    let machine = Machine::new(1, FRAMES);
    map_direct(&machine, Protection::ReadWrite, Some);
    let broken = run(&machine, Bug::DirectMapOffByAPage, REGISTERS, true).expect_err("it is wrong");
    assert!(matches!(broken.seen, Seen::NotMapped { frame, .. } if frame == root), "{broken}");
}

#[test]
fn registers_that_will_not_do_are_named_before_anything_is_taken() {
    let machine = Machine::new(1, FRAMES);
    let seen = |registers| {
        let broken = run(&machine, Bug::None, registers, false).expect_err("it is wrong");
        assert_eq!(machine.free_frames(), FRAMES);
        (broken.promise, broken.seen)
    };
    let paging = |seen| (Promise::Paging, seen);
    assert_eq!(seen(Registers { no_execute: false, ..REGISTERS }), paging(Seen::NoExecuteOff));
    assert_eq!(seen(Registers { write_protect: false, ..REGISTERS }), paging(Seen::WriteProtectOff));
    assert_eq!(seen(Registers { five_levels: true, ..REGISTERS }), paging(Seen::FiveLevels));
    let cr3 = Frame::new(0x1003);
    let other = (Promise::Root, Seen::OtherRoot { returned: REGISTERS.root, cr3 });
    assert_eq!(seen(Registers { root: cr3, ..REGISTERS }), other);
    let bits = (Promise::PhysicalBits, Seen::OtherBits { returned: 40, cpuid: 39 });
    assert_eq!(seen(Registers { physical_bits: 39, ..REGISTERS }), bits);
    // As wrong as the machine: the frames tell.
    let broken = run(&machine, Bug::TooFewBits, Registers { physical_bits: 24, ..REGISTERS }, false);
    let frame = Frame::new(0x1001);
    assert_eq!(broken.expect_err("it is wrong").seen, Seen::BeyondBits { frame, bits: 24 });
}

#[test]
fn a_range_in_use_is_named_and_nothing_is_taken() {
    let machine = Machine::new(2, FRAMES);
    let vmalloc = instance(&machine, 64);
    let frames = take(&machine, 1);
    let area = vmalloc.vmap(&frames, Protection::ReadWrite).expect("room").as_ptr() as usize;
    let free = machine.free_frames();
    let broken = run(&machine, Bug::None, REGISTERS, false).expect_err("in use");
    assert!(
        matches!(broken.seen, Seen::Refused(NewError::InUse { address, .. }) if address == area),
        "{broken}"
    );
    assert_eq!((broken.promise, machine.free_frames()), (Promise::Range, free));
}

/// Seen failing where what lacks was named as a wrong count, where frames stayed taken, and where tables did.
#[test]
fn a_machine_with_too_little_memory_is_not_called_broken() {
    for frames in [0, 20, 31, 32, 34] {
        let machine = Machine::new(1, frames);
        let broken = run(&machine, Bug::None, REGISTERS, false).expect_err("too few");
        assert_eq!((broken.promise, machine.free_frames()), (Promise::Memory, frames), "{broken}");
    }
    let said = run(&Machine::new(1, 33), Bug::None, REGISTERS, false).expect_err("too few").to_string();
    assert_eq!(
        said,
        "lacking: what the check needs to try the rest; 1 of 3 frames were to be had, and the check needs all"
    );
    run(&Machine::new(1, 35), Bug::None, REGISTERS, false).expect("enough");
}

/// What others have below the same directories stays, and so do directories that an instance left.
#[test]
fn tables_that_were_there_stay() {
    let machine = Machine::new(2, FRAMES);
    let beside = RANGE.end..RANGE.end + 8 * BLOCK_SIZE;
    // SAFETY: simulated memory.
    let neighbour = unsafe { Vmalloc::new(&machine, beside) }.expect("enough");
    let area = neighbour.vmalloc(3 * PAGE_SIZE).expect("room").as_ptr() as usize;
    machine.write(1, area, 77).expect("mapped");
    let free = machine.free_frames();
    run(&machine, Bug::None, REGISTERS, false).expect("right");
    assert_eq!(machine.read(1, area), Ok(77));
    assert_eq!(machine.free_frames(), free);
    machine.check();
}

#[test]
fn each_promise_is_announced_before_it_is_tried() {
    let machine = Machine::new(2, FRAMES);
    let wrong = Wrong::new(&machine, Bug::None);
    let cpu = SimulatedCpu { machine: &wrong, registers: REGISTERS, has_direct_map: false };
    let mut announced = Vec::new();
    // SAFETY: simulated memory.
    unsafe { check::platform_on(&cpu, &wrong, RANGE, |promise| announced.push(promise)) }.expect("right");
    let expected = [
        Promise::InInterrupt,
        Promise::Pins,
        Promise::Online,
        Promise::Uninterrupted,
        Promise::Paging,
        Promise::PhysicalBits,
        Promise::Root,
        Promise::DirectMap,
        Promise::Range,
        Promise::Counts,
        Promise::Frames,
        Promise::DirectMap,
        Promise::Ram,
        Promise::Tables,
        Promise::Frames,
        Promise::DirectMap,
        Promise::DirectMap,
        Promise::Flushes,
        Promise::Interrupts,
        Promise::Grace,
    ];
    assert_eq!(announced, expected);
}
