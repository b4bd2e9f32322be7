//! What a CPU notes of `vm_map_ram` in its magazines.

extern crate std;

use crate::{
    BLOCK_PAGES, Frame, FreeError, PAGE_SIZE, Platform, Returned, Vmalloc,
    tests::{
        machine::{Machine, PageFault},
        support::{address, instance, map_ram, take, unmap_ram},
    },
};
use core::ptr::NonNull;
use std::vec::Vec;

/// Maps as many mappings, each of these frames, has CPU 2 use all pages, and unmaps them. Returns the pages.
fn use_and_unmap(
    machine: &Machine,
    vmalloc: &Vmalloc<&Machine>,
    frames: &[Frame],
    count: usize,
) -> Vec<usize> {
    let starts: Vec<NonNull<u8>> = (0..count).map(|_| map_ram(vmalloc, frames).expect("room")).collect();
    let pages =
        starts.iter().flat_map(|&start| (0..frames.len()).map(move |page| address(start) + page * PAGE_SIZE));
    let pages: Vec<usize> = pages.collect();
    pages.iter().for_each(|&page| machine.write(2, page, 1).expect("mapped"));
    starts.iter().for_each(|&start| unmap_ram(vmalloc, start, frames.len()).expect("mapped"));
    pages
}

fn finish(machine: &Machine, vmalloc: Vmalloc<&Machine>, frames: Vec<Frame>) {
    vmalloc.vm_unmap_aliases();
    (&machine).give_frames(Returned::new(frames.into_iter()));
    machine.check();
    vmalloc.trim();
    let stats = vmalloc.stats();
    assert_eq!((stats.free, stats.lazy, vmalloc.lazy_pages()), (stats.total, 0, 0));
    drop(vmalloc);
    machine.assert_all_frames_back();
}

/// What one CPU unmapped and noted, another one makes all forget. Seen failing: with only the lists of what is pending
/// looked at.
#[test]
fn aliases_that_another_cpu_has_noted_are_flushed() {
    for count in [1, 2, 5, 300] {
        let machine = Machine::new(3, 3000);
        let vmalloc = instance(&machine, 8);
        let frames = take(&machine, 3);
        let pages = use_and_unmap(&machine, &vmalloc, &frames, count);
        assert!(pages.iter().all(|&page| machine.read(2, page) == Ok(1)), "nothing flushed yet");
        machine.run_on(1);
        vmalloc.vm_unmap_aliases();
        for (cpu, &page) in (0..3).flat_map(|cpu| pages.iter().map(move |page| (cpu, page))) {
            assert_eq!(machine.read(cpu, page), Err(PageFault), "CPU {cpu}, {count} mappings");
        }
        finish(&machine, vmalloc, frames);
    }
}

/// What was unmapped is counted wherever it is noted, and a purge on the same CPU frees it. Seen failing: with purges that
/// leave it where it is.
#[test]
fn what_is_noted_waits_and_is_purged() {
    let machine = Machine::new(3, 3000);
    let vmalloc = instance(&machine, 8);
    let frames = take(&machine, 3);
    let before = vmalloc.stats();
    assert_eq!(before.used(), 0);
    for count in [1, 2, 100] {
        use_and_unmap(&machine, &vmalloc, &frames, count);
        let stats = vmalloc.stats();
        assert_eq!((stats.used(), stats.lazy), (0, 3 * count));
        assert_eq!(vmalloc.lazy_pages(), 3 * count as i64);
        assert_eq!(vmalloc.purge(), 3 * count);
        assert_eq!((vmalloc.stats().used(), vmalloc.lazy_pages()), (0, 0));
    }
    finish(&machine, vmalloc, frames);
}

/// All address space is had by one CPU, though another one has supplies and has noted what it unmapped.
#[test]
fn address_space_that_another_cpu_has_is_had() {
    let machine = Machine::new(3, 3000);
    let vmalloc = instance(&machine, 2);
    let frames = take(&machine, 1);
    use_and_unmap(&machine, &vmalloc, &frames, BLOCK_PAGES / 2);
    machine.run_on(1);
    let all: Vec<_> = core::iter::from_fn(|| map_ram(&vmalloc, &frames).ok()).collect();
    assert_eq!(all.len(), 2 * BLOCK_PAGES);
    all.into_iter().rev().for_each(|start| unmap_ram(&vmalloc, start, 1).expect("mapped"));
    finish(&machine, vmalloc, frames);
}

/// Mappings go in any order, on any CPU: what is not behind what was unmapped last is retired as ever, and no mapping is
/// unmapped twice.
#[test]
fn mappings_go_in_any_order() {
    let machine = Machine::new(3, 3000);
    let vmalloc = instance(&machine, 8);
    let frames = take(&machine, 128);
    for order in 0..4 {
        let mut starts: Vec<_> = (0..12).map(|_| map_ram(&vmalloc, &frames).expect("room")).collect();
        match order {
            0 => {}
            1 => starts.reverse(),
            2 => starts.rotate_left(5),
            _ => starts.sort_by_key(|&start| address(start) / PAGE_SIZE / 128 % 3),
        }
        for (turn, &start) in starts.iter().enumerate() {
            machine.run_on(if order == 3 { turn % 3 } else { 0 });
            unmap_ram(&vmalloc, start, 128).expect("mapped");
            assert!(matches!(unmap_ram(&vmalloc, start, 128), Err(FreeError::NotAllocated { .. })), "twice");
        }
        machine.run_on(0);
        assert_eq!(vmalloc.stats().used(), 0);
        machine.check();
    }
    finish(&machine, vmalloc, frames);
}
