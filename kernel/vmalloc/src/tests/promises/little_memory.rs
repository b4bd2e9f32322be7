//! Machines with little memory: what an instance does not have allocated is nearly all left to others.

extern crate std;

use crate::{
    PAGE_SIZE, Policy, Request, Reuse, Slack, Vmalloc,
    tests::{
        machine::{Machine, Random},
        support::{free, plain_instance},
    },
};
use core::{ptr::NonNull, sync::atomic::Ordering};

/// Frames of machines with 32 and 64 MiB.
const MEMORY: [usize; 2] = [8192, 16384];

/// One turn of a loop that holds nothing, or one area, at its end.
type Turn = fn(&Vmalloc<&Machine>, &mut Random, &mut Option<NonNull<u8>>);

const LOOPS: [Turn; 4] = [
    // One page, always another one.
    |vmalloc, _, held| {
        let area = vmalloc.vmalloc(PAGE_SIZE).expect("memory enough");
        let before = held.replace(area);
        before.into_iter().for_each(|area| free(vmalloc, area).expect("allocated"));
    },
    // Any size that shares a block.
    |vmalloc, random, _| {
        let area = vmalloc.vmalloc((1 + random.below(250)) * PAGE_SIZE).expect("memory enough");
        free(vmalloc, area).expect("allocated");
    },
    // One page that is aligned to a block.
    |vmalloc, _, _| {
        let area = vmalloc.allocate(Request::new(PAGE_SIZE).align(2 << 20)).expect("memory enough");
        free(vmalloc, area).expect("allocated");
    },
    // Runs.
    |vmalloc, random, _| {
        let area = vmalloc.vmalloc((300 + random.below(700)) * PAGE_SIZE).expect("memory enough");
        free(vmalloc, area).expect("allocated");
    },
];

/// The most frames that a loop took at one time, of those that the machine has.
fn most_taken(frames: usize, reuse: Reuse, turn: Turn) -> usize {
    let machine = Machine::new(1, frames);
    let vmalloc = plain_instance(&machine, 4096, Policy::default().slack(Slack::Ignored).reuse(reuse));
    let (mut random, mut held, mut most) = (Random::new(3), None, 0);
    for _ in 0..3000 {
        turn(&vmalloc, &mut random, &mut held);
        most = most.max(frames - machine.free_frames());
    }
    held.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
    drop(vmalloc);
    machine.assert_all_frames_back();
    most
}

/// What waits, and what is cached, is a quarter of the memory at most, though one page or one area is held. Parked areas
/// keep blocks in use, so that it is a half with them.
///
/// Seen failing: with `LAZY_PART` 1: 3017 frames of 8192 for one page, and 15271 of 16384 for areas that share blocks.
#[test]
fn a_loop_that_holds_little_leaves_the_memory_to_others() {
    for (frames, turn) in MEMORY.into_iter().flat_map(|frames| LOOPS.map(|turn| (frames, turn))) {
        for (reuse, part) in [(Reuse::AfterFlush, 4), (Reuse::Hot, 2)] {
            let most = most_taken(frames, reuse, turn);
            assert!(most <= frames / part, "{most} of {frames} frames with {reuse:?}");
        }
    }
}

/// The default limit is Linux's, and follows the memory where that is little. A limit that was set is what was set.
#[test]
fn the_lazy_limit_follows_the_memory() {
    const LINUX: usize = 8192;
    for (cpus, frames, limit) in [
        (1, 2048, 128),
        (1, 16384, 1024),
        (8, 16384, 1024),
        (1, 16 * LINUX, LINUX),
        (1, 20 * LINUX, LINUX),
        (4, 20 * LINUX, 20 * LINUX / 16),
        (4, 48 * LINUX, 3 * LINUX),
    ] {
        let machine = Machine::new(cpus, frames);
        let vmalloc = plain_instance(&machine, 8, Policy::default().slack(Slack::Ignored));
        assert_eq!(vmalloc.lazy_max(), limit, "{cpus} CPUs, {frames} frames");
        vmalloc.tunables().lazy_max_pages.store(5000, Ordering::Relaxed);
        assert_eq!(vmalloc.lazy_max(), 5000);
    }
}

/// A CPU has no more leaf tables in reserve than the 1024th part of the memory.
///
/// Seen failing: with a reserve of 8 on every machine.
#[test]
fn reserves_of_leaf_tables_follow_the_memory() {
    for (frames, most) in [(1100, 1), (2100, 2), (9000, 8)] {
        let machine = Machine::new(1, frames);
        let vmalloc = plain_instance(&machine, 40, Policy::default().slack(Slack::Ignored));
        let request = Request::new(PAGE_SIZE).align(2 << 20);
        let areas = [(); 12].map(|()| vmalloc.allocate(request).expect("memory enough"));
        areas.into_iter().for_each(|area| free(&vmalloc, area).expect("allocated"));
        vmalloc.purge();
        assert_eq!(vmalloc.stats().reserved_tables, most, "{frames} frames");
    }
}
