//! Two CPUs that run out of address space at once: the thread of 2016. By the rule that was proposed
//! there, an allocation purges unless somebody else does, tries once more, and fails; but the other purge
//! may have taken all that is to be purged and not yet freed it.

use super::common::failed;
use crate::{
    arch::cpu,
    command::CommandError,
    println,
    services::{Experiment, Frames, flushing},
    threads::{Builder, JoinHandle},
};
use alloc::{format, sync::Arc, vec::Vec};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};
use fastrand::Rng;
use vmalloc::{BLOCK_PAGES, Frame, OverflowPolicy, Policy, Protection};

const BLOCKS: usize = 4;
/// Overflows after which it is enough.
const ENOUGH: u64 = 100_000;
/// Threads that run it at most: more only wait longer for each other.
const MOST: usize = 8;
/// Pages that nobody ever holds: there is always room, once what was freed is flushed.
const ROOM: usize = 64;
/// Allocations after which it is enough even with fewer overflows.
const LIMIT: usize = 50_000_000;

/// What the workers of one run share.
struct Run {
    vmalloc: Experiment,
    /// Pages that each of them holds at most.
    share: usize,
    allocations: AtomicUsize,
    failures: AtomicUsize,
}

pub(super) fn run() -> Result<(), CommandError> {
    let workers = cpu::online_count().clamp(2, MOST);
    println!("{workers} threads fill {BLOCKS} blocks all but {ROOM} pages, and free at random");
    println!("{:36} {:>12} {:>12} {:>24}", "", "allocations", "overflows", "failed though room was");
    let one_purge = flushing().overflow(OverflowPolicy::OnePurge);
    let [_, old] = race("one purge, waiting for nobody's", workers, one_purge)?;
    let [overflows, new] = race("a ticket", workers, flushing())?;
    if old == 0 || new != 0 || overflows < ENOUGH {
        return Err(CommandError::new(format!(
            "{old} and {new} failures in {overflows} overflows: not as it has to be"
        )));
    }
    Ok(())
}

/// Overflows and failures of all workers.
fn race(name: &str, workers: usize, policy: Policy) -> Result<[u64; 2], CommandError> {
    let frames = Frames::take(1).map_err(failed)?;
    let run = Arc::new(Run {
        vmalloc: Experiment::new(BLOCKS, policy).map_err(failed)?,
        share: (BLOCKS * BLOCK_PAGES - ROOM) / workers,
        allocations: AtomicUsize::new(0),
        failures: AtomicUsize::new(0),
    });
    let spawn = |seed: usize| {
        let (run, frame) = (Arc::clone(&run), frames[0]);
        Builder::new("overflow race").spawn(move || work(&run, frame, seed as u64))
    };
    let threads: Vec<_> = (0..workers).map(spawn).collect();
    let mut error = None;
    for thread in threads {
        match thread.map(JoinHandle::join) {
            Ok(Ok(())) => {}
            Ok(Err(wrong)) => error = Some(wrong),
            Err(none) => error = Some(failed(none)),
        }
    }
    run.vmalloc.vm_unmap_aliases();
    let overflows = run.vmalloc.tally().overflows;
    let (allocations, failures) =
        (run.allocations.load(Ordering::Relaxed), run.failures.load(Ordering::Relaxed));
    println!("{name:36} {allocations:>12} {overflows:>12} {failures:>24}");
    error.map_or(Ok([overflows, failures as u64]), Err)
}

/// Holds at most its share.
fn work(run: &Run, frame: Frame, seed: u64) -> Result<(), CommandError> {
    let mut random = Rng::with_seed(seed);
    let mut held: Vec<NonNull<u8>> = Vec::new();
    held.try_reserve_exact(run.share).map_err(failed)?;
    let enough =
        || run.vmalloc.tally().overflows >= ENOUGH || run.allocations.load(Ordering::Relaxed) >= LIMIT;
    while !enough() {
        while held.len() < run.share {
            run.allocations.fetch_add(1, Ordering::Relaxed);
            match run.vmalloc.vm_map_ram(&[frame], Protection::ReadOnly) {
                Ok(start) => held.push(start),
                Err(_) => {
                    run.failures.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
        for _ in 0..random.usize(1..=ROOM) {
            if !held.is_empty() {
                let start = held.swap_remove(random.usize(..held.len()));
                // SAFETY: nobody uses the mapping.
                unsafe { run.vmalloc.vm_unmap_ram(start, 1) }.map_err(failed)?;
            }
        }
    }
    for start in held {
        // SAFETY: nobody uses the mapping.
        unsafe { run.vmalloc.vm_unmap_ram(start, 1) }.map_err(failed)?;
    }
    Ok(())
}
