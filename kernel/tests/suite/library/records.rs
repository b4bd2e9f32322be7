//! The library's records go when their blocks are free, and not before everybody is done with them.

use alloc::{sync::Arc, vec::Vec};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};
use kernel::{
    arch::cpu,
    memory::frames,
    services::{Experiment, flushing},
    threads::{Builder, JoinHandle},
};
use vmalloc::{BLOCK_SIZE, PAGE_SIZE, Request};

/// Frames of descriptors of several blocks each, and one that is not full.
const BLOCKS: usize = 200;

fn instance() -> Arc<Experiment> {
    Arc::new(Experiment::new(BLOCKS, flushing()).expect("frames enough"))
}

fn free(instance: &Experiment, area: NonNull<u8>) {
    // SAFETY: tests free what they allocated, and use it no more.
    unsafe { instance.vfree(area) }.expect("allocated");
}

/// A page that has a block for itself, from `address` on.
fn in_block(address: usize) -> Request {
    Request::new(PAGE_SIZE).within(address, address + BLOCK_SIZE)
}

/// 64 GiB with a page in each block cost 32768 leaf tables, 64 directories and 1564 frames of records, which go with
/// it. Seen failing when descriptors stay.
#[test_case]
fn a_thin_range_leaves_nothing_behind() {
    const BLOCKS: usize = 64 << 9;
    // The range need not start where a directory does.
    let instance = Experiment::new(BLOCKS + 1024, flushing()).expect("frames enough");
    let request = Request::new(PAGE_SIZE).align(BLOCK_SIZE);
    let mut areas = Vec::with_capacity(BLOCKS);
    // A directory that reaches beyond the range stays.
    free(&instance, instance.allocate(request).expect("memory enough"));
    instance.trim();
    let (before, frames) = (instance.stats(), frames::counts().free);
    areas.extend((0..BLOCKS).map(|_| instance.allocate(request).expect("memory enough")));
    let stats = instance.stats();
    assert!(stats.table_frames() >= before.table_frames() + BLOCKS + 63);
    assert!(stats.metadata_frames > BLOCKS / 21);
    areas.drain(..).for_each(|area| free(&instance, area));
    instance.trim();
    assert_eq!((instance.stats(), frames::counts().free), (before, frames));
    assert_eq!(before.metadata_frames, 0);
}

/// Seen failing when a pinned caller is told that the readers are done.
#[test_case]
fn records_stay_while_their_owner_may_not_wait() {
    let instance = instance();
    let area = instance.allocate(in_block(instance.range().start)).expect("memory enough");
    free(&instance, area);
    let pin = cpu::Pin::new();
    instance.trim();
    assert_eq!(instance.stats().metadata_frames, 2, "descriptors and their directory");
    drop(pin);
    instance.trim();
    assert_eq!(instance.stats().metadata_frames, 0);
}

/// Seen failing when nothing is waited for.
#[test_case]
fn records_stay_while_another_cpu_is_pinned() {
    let Some(other) = cpu::online().iter().find(|&number| number != cpu::current()) else { return };
    let instance = instance();
    let area = instance.allocate(in_block(instance.range().start)).expect("memory enough");
    free(&instance, area);
    let step = Arc::new(AtomicU32::new(0));
    let reader = Builder::new("reader").on_cpu(other).spawn({
        let step = Arc::clone(&step);
        move || {
            let pin = cpu::Pin::new();
            step.store(1, Ordering::Release);
            // Long enough for a trim that does not wait.
            (0..20_000_000).for_each(|_| core::hint::spin_loop());
            step.store(2, Ordering::Release);
            drop(pin);
        }
    });
    while step.load(Ordering::Acquire) == 0 {
        core::hint::spin_loop();
    }
    instance.trim();
    assert_eq!((step.load(Ordering::Acquire), instance.stats().metadata_frames), (2, 0));
    reader.expect("memory enough").join();
}

/// Blocks come and go on all CPUs, with their records, while these look at each other's, and free what is free. Seen
/// failing when a record goes of which one block is used.
#[test_case]
fn records_go_while_others_look() {
    let instance = instance();
    let work = |cpu: usize, instance: Arc<Experiment>| {
        let start = instance.range().start;
        // The last block is nobody's.
        let nothing = NonNull::new((start + (BLOCKS - 1) * BLOCK_SIZE) as *mut u8).expect("not zero");
        let mut random = fastrand::Rng::with_seed(cpu as u64 + 1);
        for step in 0..1000 {
            let (block, other) = [(); 2].map(|()| start + random.usize(..BLOCKS - 1) * BLOCK_SIZE).into();
            if let Ok(area) = instance.allocate(in_block(block)) {
                let word = area.cast::<u64>();
                // SAFETY: the area is ours.
                unsafe { word.write_volatile(step) };
                assert_eq!(instance.find_area(block).map(|area| area.pages), Some(1));
                assert!(instance.find_area(other).is_none_or(|area| area.start == other));
                // SAFETY: as above.
                assert_eq!(unsafe { word.read_volatile() }, step);
                free(&instance, area);
            }
            let _ = instance.frame_at(other);
            // SAFETY: there is no area.
            assert!(unsafe { instance.vfree(nothing) }.is_err());
            if step % 4 == cpu as u64 % 4 {
                instance.trim();
            }
        }
    };
    let threads: Vec<_> = cpu::online()
        .iter()
        .map(|cpu| {
            let instance = Arc::clone(&instance);
            Builder::new("records").on_cpu(cpu).spawn(move || work(cpu, instance)).expect("memory enough")
        })
        .collect();
    threads.into_iter().for_each(JoinHandle::join);
    instance.trim();
    assert_eq!(instance.stats().metadata_frames, 0);
}
