//! What is memory, and where frames come from.

extern crate std;

use super::{FIRST, FRAMES, Frames, one_cpu};
use crate::{
    CpuSet, Frame, PAGE_SIZE, Platform,
    adapters::{Cpus, FrameSource, Memory, OneCpu},
};
use std::{format, vec::Vec};

/// Seen failing with ranges that were not joined, with one that took the place of a longer one, and with the lowest taken for
/// the shortest.
#[test]
fn ranges_of_memory_are_joined_and_the_longest_are_known() {
    let page = PAGE_SIZE as u64;
    let knows = |memory: &Memory, number| memory.is_ram(Frame::new(number));
    // Frame 0, which nothing can point to, in part, empty, in any order, touching.
    let memory = Memory::new(0, [page * 8..page * 9, 0..page * 2 + 1, 5..7, page * 2..page * 8]);
    assert!((1..9).all(|number| knows(&memory, number)) && !knows(&memory, 0) && !knows(&memory, 9));
    assert_eq!(memory.ram.iter().filter(|known| **known != (0, 0)).count(), 1);
    assert_eq!(memory.frames(), 8);
    // Each of another length, 1 to 70, which have nothing to do with where they are, with holes.
    let (start, length) = (|index: u64| 1000 * index, |index: u64| index * 37 % 71);
    let ranges = (1..=70).rev().map(|index| start(index) * page..(start(index) + length(index)) * page);
    let memory = Memory::new(0, ranges);
    for index in 1..=70 {
        assert_eq!(knows(&memory, start(index)), length(index) >= 7, "{} frames", length(index));
    }
    assert_eq!(memory.frames(), (1..=70).sum());
}

/// Seen failing with one of the 64 ranges that makes room for another as long, and with a range that counts by where it ends.
#[test]
fn a_range_that_is_no_longer_than_those_known_is_left_out() {
    let ranges = |first: u64, length: u64| (first * PAGE_SIZE as u64)..(first + length) * PAGE_SIZE as u64;
    let known = (1..65).map(|index| ranges(index * 100, 5));
    let memory = Memory::new(0, known.chain([ranges(1 << 30, 5), ranges(1 << 31, 1)]));
    let knows = |number| memory.is_ram(Frame::new(number));
    assert!((1..65).all(|index| knows(index * 100)));
    assert!(!knows(1 << 30) && !knows(1 << 31));
    assert_eq!(memory.frames(), 65 * 5 + 1);
}

#[test]
fn a_machine_tells_of_its_memory() {
    let machine = one_cpu(Frames::new(true));
    let is_ram = |number| machine.is_ram(Frame::new(number));
    assert!(is_ram(FIRST) && is_ram(FIRST + FRAMES as u64 - 1) && !is_ram(FIRST + FRAMES as u64));
    assert!(format!("{machine:?}").starts_with("Machine { root: "));
}

/// A pair of closures is a source, and a pair of closures the CPUs.
#[test]
fn closures_do_for_frames_and_cpus() {
    let (mut frames, mut given) = (std::vec![Frame::new(7)], Vec::new());
    let mut source = (
        || frames.pop(),
        |frame| {
            given.push(frame);
            given.len() > 1
        },
    );
    assert_eq!((source.take(), source.take()), (Some(Frame::new(7)), None));
    // SAFETY: nobody uses it.
    let took_back = [(); 2].map(|()| unsafe { source.give(Frame::new(7)) });
    assert_eq!((took_back, given.len()), ([false, true], 2));
    let interrupted = core::cell::Cell::new(0);
    let cpus = (|| 3, |cpus: CpuSet| interrupted.set(cpus.iter().count()));
    cpus.interrupt(CpuSet::from_bits(3));
    assert_eq!((cpus.here(), interrupted.get(), cpus.pause()), (3, 2, true));
}

#[test]
#[should_panic(expected = "one CPU is to interrupt")]
fn one_cpu_has_nobody_to_interrupt_and_nobody_to_wait_for() {
    assert_eq!((OneCpu.here(), OneCpu.pause()), (0, false));
    OneCpu.interrupt(CpuSet::from_bits(2));
}

#[cfg(all(feature = "x86_64", target_arch = "x86_64"))]
mod x86_64 {
    use super::*;
    use crate::adapters::{Freeing, NeverFreeing};
    use ::x86_64::structures::paging::{FrameAllocator, FrameDeallocator, PhysFrame, Size4KiB};

    /// Frames that are free.
    struct Allocator(Vec<Frame>);

    // SAFETY: the frames are no memory, and nobody uses them.
    unsafe impl FrameAllocator<Size4KiB> for Allocator {
        fn allocate_frame(&mut self) -> Option<PhysFrame> {
            self.0.pop().map(PhysFrame::from)
        }
    }

    impl FrameDeallocator<Size4KiB> for Allocator {
        unsafe fn deallocate_frame(&mut self, frame: PhysFrame) {
            self.0.push(frame.into());
        }
    }

    #[test]
    fn frames_become_those_of_x86_64_and_come_back() {
        let frame = Frame::new(0x12_3456_789a);
        let theirs = PhysFrame::from(frame);
        assert_eq!(theirs.start_address().as_u64(), frame.address());
        assert_eq!(Frame::from(theirs), frame);
    }

    #[test]
    fn allocators_of_x86_64_are_sources() {
        let frames = std::vec![Frame::new(2), Frame::new(1)];
        let (mut freeing, mut never) = (Freeing(Allocator(frames.clone())), NeverFreeing(Allocator(frames)));
        for number in 1..3 {
            assert_eq!([freeing.take(), never.take()], [Some(Frame::new(number)); 2]);
        }
        assert_eq!([freeing.take(), never.take()], [None; 2]);
        // SAFETY: nobody uses the frame.
        let took_back = unsafe { [freeing.give(Frame::new(1)), never.give(Frame::new(1))] };
        assert_eq!((took_back, freeing.0.0.len(), never.0.0.len()), ([true, false], 1, 0));
    }
}
