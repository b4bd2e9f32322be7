//! `vm_map_ram` on real page tables and several CPUs.

use alloc::{sync::Arc, vec::Vec};
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};
use fastrand::Rng;
use kernel::{
    arch::{cpu, paging::direct_map},
    history,
    memory::{self, frames},
    services::{Experiment, flushing},
    threads::{Builder, JoinHandle},
};
use vmalloc::{BLOCK_PAGES, Frame, FreeError, PAGE_SIZE, Protection, Vmalloc};

/// Frames with their place in the list as the first word.
fn take(count: usize) -> Vec<Frame> {
    let mut list = Vec::with_capacity(count);
    assert_eq!(frames::take(count, |frame| list.push(frame)), count);
    for (number, &frame) in list.iter().enumerate() {
        // SAFETY: the frame is ours.
        unsafe { direct_map::pointer(frame).cast::<u64>().write(number as u64) };
    }
    list
}

fn map(instance: &Vmalloc<memory::Machine>, frames: &[Frame]) -> NonNull<u8> {
    instance.vm_map_ram(frames, Protection::ReadOnly).expect("room")
}

fn unmap(instance: &Vmalloc<memory::Machine>, start: NonNull<u8>, count: usize) {
    // SAFETY: tests unmap what they mapped, and use it no more.
    unsafe { instance.vm_unmap_ram(start, count) }.expect("mapped");
}

fn number_at(start: NonNull<u8>, page: usize) -> u64 {
    // SAFETY: callers stay inside a mapping that is theirs.
    unsafe { start.byte_add(page * PAGE_SIZE).cast::<u64>().read_volatile() }
}

/// A thread on each CPU that is not isolated; at least two threads.
fn on_cpus<T: Send + 'static>(body: impl Fn(u64) -> T + Clone + Send + 'static) -> Vec<T> {
    let cpus: Vec<_> = cpu::online().without(cpu::isolated()).iter().collect();
    let threads: Vec<_> = (0..cpus.len().max(2))
        .map(|seed| {
            let (body, cpu) = (body.clone(), cpus[seed % cpus.len()]);
            Builder::new("test").on_cpu(cpu).spawn(move || body(seed as u64)).expect("memory enough")
        })
        .collect();
    threads.into_iter().map(JoinHandle::join).collect()
}

#[test_case]
fn frames_show_in_the_order_given_until_they_are_unmapped() {
    for count in [1, 2, 70, 512, 600] {
        let mut list = take(count);
        list.reverse();
        let start = map(memory::vmalloc(), &list);
        assert!((0..count).all(|page| number_at(start, page) == (count - 1 - page) as u64));
        unmap(memory::vmalloc(), start, count);
        // SAFETY: refused.
        let twice = unsafe { memory::vmalloc().vm_unmap_ram(start, count) };
        let Err(FreeError::NotAllocated { caller, .. }) = twice else { panic!("{twice:?}") };
        assert_eq!(caller.file(), file!());
        memory::vmalloc().vm_unmap_aliases();
        // SAFETY: the test took what it gives back, and uses it no more.
        unsafe { frames::give(list.into_iter()) };
    }
}

/// The same address again and again, for other frames, on all CPUs at once: each sees its own.
///
/// Seen failing on 4 CPUs with `retire_locked` marking nothing dirty but free at once.
#[test_case]
fn each_cpu_sees_the_frames_it_mapped_whoever_had_the_address_before() {
    // So few blocks that the last page of one goes while others map from it.
    let instance = Arc::new(Experiment::new(2, flushing()).expect("frames enough"));
    instance.tunables().lazy_max_pages.store(300, Ordering::Relaxed);
    on_cpus(move |seed| {
        let list = take(64);
        let mut random = Rng::with_seed(seed);
        let mut held: Vec<(NonNull<u8>, usize, usize)> = Vec::new();
        for _ in 0..3000 {
            if random.bool() && !held.is_empty() {
                let (start, first, count) = held.swap_remove(random.usize(..held.len()));
                for page in 0..count {
                    let frame = direct_map::pointer(list[first + page]).cast::<u64>();
                    // SAFETY: the frame is ours.
                    unsafe { frame.write(seed << 32 | (first + page) as u64) };
                    assert_eq!(number_at(start, page), seed << 32 | (first + page) as u64);
                }
                unmap(&instance, start, count);
            } else if held.len() < 8 {
                let count = random.usize(1..=8);
                let first = random.usize(..64 - count);
                // No room is no fault here: others have it.
                if let Ok(start) = instance.vm_map_ram(&list[first..first + count], Protection::ReadOnly) {
                    held.push((start, first, count));
                }
            }
        }
        held.into_iter().for_each(|(start, _, count)| unmap(&instance, start, count));
        instance.vm_unmap_aliases();
        // SAFETY: the test took what it gives back, and uses it no more.
        unsafe { frames::give(list.into_iter()) };
    });
}

/// CPUs that run out of address space at the same time do not fail while there is room. Seen
/// failing on 4 CPUs with `OverflowPolicy::OnePurge`.
#[test_case]
fn no_cpu_fails_while_another_one_makes_room() {
    const ROOM: usize = 32;
    let instance = Arc::new(Experiment::new(1, flushing()).expect("frames enough"));
    let list = Arc::new(take(1));
    let threads = cpu::online().without(cpu::isolated()).count().max(2);
    let share = (BLOCK_PAGES - ROOM) / threads;
    let mapped = Arc::new(AtomicUsize::new(0));
    on_cpus({
        let (instance, list, mapped) = (Arc::clone(&instance), Arc::clone(&list), Arc::clone(&mapped));
        move |seed| {
            let mut random = Rng::with_seed(seed);
            let mut held = Vec::new();
            for _ in 0..40 {
                while held.len() < share {
                    held.push(map(&instance, &list));
                    mapped.fetch_add(1, Ordering::Relaxed);
                }
                for _ in 0..random.usize(1..=ROOM) {
                    unmap(&instance, held.swap_remove(random.usize(..held.len())), 1);
                }
            }
            held.into_iter().for_each(|start| unmap(&instance, start, 1));
        }
    });
    assert!(instance.tally().overflows > 0, "{} mappings always found room", mapped.load(Ordering::Relaxed));
    instance.vm_unmap_aliases();
    // SAFETY: the test took what it gives back, and uses it no more.
    unsafe { frames::give(list.iter().copied()) };
}

#[test_case]
fn what_guard_pages_between_blocks_cost_is_shown() {
    history::command(&["vmap-exhaust"]).expect("as it has to be");
    let error = history::command(&["vmap"]).expect_err("there is none");
    assert_eq!(alloc::format!("{error}"), "vmap: no such experiment; did you mean vmap-exhaust?");
    let error = history::command(&["vmap-exhaust", "area-cache"]).expect_err("one or all");
    assert_eq!(alloc::format!("{error}"), "runs one experiment or all, not area-cache too");
    let error = history::command(&["vmap-exhaust", "samples=5"]).expect_err("has none");
    assert_eq!(alloc::format!("{error}"), "vmap-exhaust: takes no samples");
    for word in ["samples=0", "samples=x", "samples=10001"] {
        let error = history::command(&["purge-latency", word]).expect_err("no number");
        assert_eq!(alloc::format!("{error}"), alloc::format!("{word}: not a number from 1 to 10000"));
    }
}
