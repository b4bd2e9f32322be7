//! Areas that are freed after a grace period: not before the last reader is done, and then all of them.

use alloc::{sync::Arc, vec::Vec};
use core::{
    ptr::{NonNull, null_mut},
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};
use kernel::{
    arch::{
        cpu::{self, Pin, interrupt_flag},
        interrupts, tsc,
    },
    memory::{self, frames},
    services::rcu,
    threads::{self, Builder, JoinHandle},
};
use vmalloc::{Frame, PAGE_SIZE};

/// An area full of this word.
fn area_of(pages: usize, word: u64) -> NonNull<u64> {
    let area = memory::vmalloc().vmalloc(pages * PAGE_SIZE).expect("memory enough").cast::<u64>();
    // SAFETY: inside the area, which is ours.
    words(pages).for_each(|index| unsafe { area.add(index).write_volatile(word) });
    area
}

/// The words that tests look at: all but those that a head may lie in.
fn words(pages: usize) -> impl Iterator<Item = usize> {
    size_of::<rcu::Head>() / 8..pages * PAGE_SIZE / 8
}

/// By the call with a head, at the area's start, or by the other one.
fn defer(area: NonNull<u64>, with_head: bool) {
    // SAFETY: tests defer what they allocated, once; only readers use it afterwards, and not the head.
    unsafe {
        match with_head {
            true => rcu::vfree_rcu(area.cast(), area.cast()),
            false => rcu::vfree_rcu_mightsleep(area.cast()),
        }
    }
}

fn is_allocated(area: NonNull<u64>) -> bool {
    memory::vmalloc().find_area(area.as_ptr() as usize).is_some()
}

fn on_cpu<T: Send + 'static>(cpu: usize, body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new("test").on_cpu(cpu).spawn(body).expect("memory enough")
}

fn last_cpu() -> usize {
    cpu::online().iter().last().expect("this one")
}

/// Address of an area that a thread may read.
#[derive(Clone, Copy)]
struct Shared(NonNull<u64>);

// SAFETY: it is only read, for as long as it is there.
unsafe impl Send for Shared {}

/// A reader on another CPU that asserts that an area of 3 pages stays as it is, until `stop`.
fn reader(area: NonNull<u64>, word: u64, stop: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (area, stop, reading) = (Shared(area), Arc::clone(stop), Arc::new(AtomicBool::new(false)));
    let begun = Arc::clone(&reading);
    let thread = on_cpu(last_cpu(), move || {
        // The whole of it moves here.
        let area = { area };
        let _pin = Pin::new();
        begun.store(true, Ordering::Release);
        loop {
            let last = stop.load(Ordering::Acquire);
            for index in words(3) {
                // SAFETY: the area is there until this reader is done.
                let read = unsafe { area.0.add(index).read_volatile() };
                assert_eq!(read, word, "freed, and used again, under a reader");
            }
            if last {
                break;
            }
        }
    });
    while !reading.load(Ordering::Acquire) {
        threads::yield_now();
    }
    thread
}

/// Seen failing with the wait before a batch is freed taken out.
#[test_case]
fn a_reader_keeps_its_area_until_it_is_done() {
    for with_head in [false, true] {
        if last_cpu() == 0 {
            // The reader is this thread.
            let area = area_of(3, 7);
            let pin = Pin::new();
            defer(area, true);
            tsc::spin_until(20_000, || false);
            assert!(is_allocated(area));
            drop(pin);
        } else {
            let (area, stop) = (area_of(3, 7), Arc::new(AtomicBool::new(false)));
            let reader = reader(area, 7, &stop);
            defer(area, with_head);
            // More than one batch, and then the same pages again if anybody freed them.
            (0..2000).for_each(|_| defer(area_of(3, 8), with_head));
            threads::sleep(30_000);
            let others: Vec<_> = (0..300).map(|_| area_of(3, 9)).collect();
            assert!(is_allocated(area));
            stop.store(true, Ordering::Release);
            reader.join();
            others.into_iter().for_each(|other| defer(other, with_head));
        }
        rcu::vfree_rcu_barrier();
        assert_eq!(rcu::waiting(), (0, 0));
    }
}

/// Seen hanging without the look at each tick.
#[test_case]
fn what_is_deferred_is_freed_without_anybody_asking() {
    for cpu in cpu::online().iter() {
        let area = on_cpu(cpu, || {
            let areas = [(true, area_of(1, 1)), (false, area_of(600, 1))];
            areas.into_iter().for_each(|(with_head, area)| defer(area, with_head));
            areas.map(|(_, area)| Shared(area))
        });
        let areas = area.join();
        while areas.iter().any(|area| is_allocated(area.0)) {
            threads::sleep(1000);
        }
    }
}

#[test_case]
fn a_barrier_waits_for_every_cpu() {
    for _ in 0..20 {
        let areas: Vec<_> = cpu::online()
            .iter()
            .map(|cpu| {
                let area = area_of(1, 1);
                let shared = Shared(area);
                on_cpu(cpu, move || defer({ shared }.0, cpu % 2 == 0)).join();
                area
            })
            .collect();
        rcu::vfree_rcu_barrier();
        assert!(!areas.into_iter().any(is_allocated));
    }
}

/// Areas for [`defer_one`], the last first, linked by their words 8.
static STOCK: AtomicPtr<u64> = AtomicPtr::new(null_mut());
const LINK: usize = 8;

fn stock(areas: usize) {
    for _ in 0..areas {
        let area = area_of(1, 0);
        // SAFETY: the area is ours.
        unsafe { area.add(LINK).cast::<*mut u64>().write(STOCK.load(Ordering::Relaxed)) };
        STOCK.store(area.as_ptr(), Ordering::Relaxed);
    }
}

/// Defers an area of the stock. One at a time calls it.
fn defer_one() {
    let area = NonNull::new(STOCK.load(Ordering::Relaxed)).expect("stocked");
    // SAFETY: `stock` wrote it.
    STOCK.store(unsafe { area.add(LINK).cast::<*mut u64>().read() }, Ordering::Relaxed);
    defer(area, true);
}

#[test_case]
fn areas_are_deferred_with_interrupts_off_and_in_interrupts() {
    stock(600 * cpu::online().count());
    for cpu in cpu::online().iter() {
        for _ in 0..300 {
            interrupt_flag::without_interrupts(defer_one);
            interrupts::call_on(cpu, defer_one);
        }
    }
    rcu::vfree_rcu_barrier();
    assert_eq!(rcu::waiting(), (0, 0));
}

/// Seen hanging with heads put first in the list by a load and, some instructions later, a store: what an
/// interrupt put there in between was lost.
#[test_case]
fn interrupts_that_defer_come_between_those_of_a_thread() {
    const CALLS: usize = 1000;
    if last_cpu() == 0 {
        return;
    }
    stock(CALLS);
    let done = Arc::new(AtomicBool::new(false));
    let thread = {
        let done = Arc::clone(&done);
        on_cpu(last_cpu(), move || {
            while !done.load(Ordering::Relaxed) {
                defer(area_of(1, 0), true);
            }
        })
    };
    (0..CALLS).for_each(|_| interrupts::call_on(last_cpu(), defer_one));
    done.store(true, Ordering::Relaxed);
    thread.join();
    rcu::vfree_rcu_barrier();
    assert_eq!(rcu::waiting(), (0, 0));
}

/// All free frames, until dropped.
struct AllFrames(Vec<Frame>);

impl AllFrames {
    fn take() -> Self {
        let mut taken = Vec::with_capacity(frames::counts().total as usize);
        frames::drain_magazines();
        frames::take(usize::MAX, |frame| taken.push(frame));
        Self(taken)
    }
}

impl Drop for AllFrames {
    fn drop(&mut self) {
        // SAFETY: the test took what it gives back, and uses it no more.
        unsafe { frames::give(self.0.drain(..)) };
    }
}

/// Seen failing without the wait in front of that free.
#[test_case]
fn without_frames_the_caller_waits_and_frees() {
    // It waits for readers.
    memory::vmalloc().trim();
    let (area, stop) = (area_of(3, 5), Arc::new(AtomicBool::new(false)));
    let short = Arc::new(AtomicBool::new(false));
    let threads = (last_cpu() > 0).then(|| {
        let (short, stop) = (Arc::clone(&short), Arc::clone(&stop));
        let reader = reader(area, 5, &stop);
        let stopper = on_cpu(0, move || {
            while !short.load(Ordering::Acquire) {
                threads::sleep(1000);
            }
            threads::sleep(20_000);
            stop.store(true, Ordering::Release);
        });
        [reader, stopper]
    });
    let is_single = threads.is_none();
    rcu::vfree_rcu_barrier();
    {
        let _none = AllFrames::take();
        short.store(true, Ordering::Release);
        defer(area, false);
        assert!(is_single || stop.load(Ordering::Acquire), "a reader was left");
    }
    threads.into_iter().flatten().for_each(JoinHandle::join);
    assert!(!is_allocated(area));
    assert_eq!(rcu::waiting(), (0, 0), "nothing was noted");
}

/// Seen failing without the notifier.
#[test_case]
fn an_allocation_waits_for_what_is_deferred() {
    const PAGES: usize = 2000;
    for with_head in [false, true] {
        // So few pages that no purge is due for them.
        let areas = [area_of(PAGES, 1), area_of(PAGES, 2)];
        // It waits for readers.
        memory::vmalloc().trim();
        let stop = Arc::new(AtomicBool::new(false));
        // A reader holds up what would be freed at the next tick.
        let reader = (last_cpu() > 0).then(|| {
            let stop = Arc::clone(&stop);
            on_cpu(last_cpu(), move || {
                let _pin = Pin::new();
                while !stop.load(Ordering::Acquire) {}
                tsc::spin_until(1_000_000, || false);
            })
        });
        let none = AllFrames::take();
        stop.store(true, Ordering::Release);
        areas.into_iter().for_each(|area| defer(area, with_head));
        let area =
            memory::vmalloc().vmalloc(PAGES * PAGE_SIZE).expect("there is enough, after a grace period");
        drop(none);
        defer(area.cast(), with_head);
        reader.map(JoinHandle::join);
        rcu::vfree_rcu_barrier();
    }
}

#[test_case]
fn many_cpus_defer_at_once() {
    let cpus = cpu::online().count();
    let threads: Vec<_> = (0..2 * cpus as u64)
        .map(|seed| {
            threads::spawn("test", move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for step in 0..3000 {
                    defer(area_of(random.usize(1..=4), seed), random.bool());
                    match random.u32(..500) {
                        0 => rcu::vfree_rcu_barrier(),
                        1 => {
                            let _pin = Pin::new();
                            tsc::spin_until(step % 2000, || false);
                        }
                        _ => {}
                    }
                }
            })
            .expect("memory enough")
        })
        .collect();
    threads.into_iter().for_each(JoinHandle::join);
    rcu::vfree_rcu_barrier();
    assert_eq!(rcu::waiting(), (0, 0));
}

/// A thread that defers without end on a CPU is not faster than that CPU frees.
#[test_case]
fn what_waits_stays_within_bounds() {
    let cpu = Pin::new().cpu();
    let mut most = 0;
    for step in 0..20_000 {
        defer(area_of(1, 0), step % 2 == 0);
        most = most.max(rcu::waiting().0);
    }
    rcu::vfree_rcu_barrier();
    assert!(most <= memory::vmalloc().lazy_max() + 1000, "{most} waited on CPU {cpu}");
}
