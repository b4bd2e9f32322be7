//! Areas that are parked, and taken again without a flush.

extern crate std;

mod closing;
mod cut;
mod long;
mod overflow;
mod ram;
mod random;
mod reuse;
mod rights;
mod zeros;

use super::{
    machine::{Machine, PageFault},
    support::address,
};
use crate::{PAGE_SIZE, Vmalloc};
use core::ptr::NonNull;
use std::vec::Vec;

/// Frames of a machine of two CPUs on which areas of all sizes are parked.
const FRAMES: usize = 40_000;

/// The numbers of the frames that the pages of an area are mapped to.
fn frames(machine: &Machine, area: NonNull<u8>, pages: usize) -> Vec<u64> {
    let frame = |page| machine.translation(address(area) + page * PAGE_SIZE).expect("mapped").frame;
    (0..pages).map(frame).collect()
}

fn allocate(vmalloc: &Vmalloc<&Machine>, pages: usize) -> NonNull<u8> {
    vmalloc.vmalloc(pages * PAGE_SIZE).expect("room")
}

fn allocate_zeroed(vmalloc: &Vmalloc<&Machine>, pages: usize) -> NonNull<u8> {
    vmalloc.vzalloc(pages * PAGE_SIZE).expect("room")
}

/// Each of the CPUs writes each page, and has its translation marked dirty then.
fn write_all(machine: &Machine, cpus: usize, area: NonNull<u8>, pages: usize) {
    for (cpu, page) in (0..cpus).flat_map(|cpu| (0..pages).map(move |page| (cpu, page))) {
        let word = address(area) + page * PAGE_SIZE + 8 * cpu;
        machine.write(cpu, word, word as u64).expect("writable");
    }
}

/// No CPU can reach the guard page behind an area.
fn assert_guarded(machine: &Machine, cpus: usize, area: NonNull<u8>, pages: usize) {
    for cpu in 0..cpus {
        assert_eq!(machine.read(cpu, address(area) + pages * PAGE_SIZE), Err(PageFault), "the guard page");
    }
}

/// What a machine did to flush, and the frames that were taken: of what reuse does without.
fn costs(machine: &Machine) -> [usize; 4] {
    [machine.page_flushes(), machine.full_flushes(), machine.interrupts(), machine.frames_taken()]
}

/// Pages that are parked, with their guard pages.
fn parked(vmalloc: &Vmalloc<&Machine>) -> usize {
    vmalloc.stats().parked
}
