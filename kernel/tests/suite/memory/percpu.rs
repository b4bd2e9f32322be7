//! Per-CPU memory: each CPU has its own copy, and all of it comes back.

use alloc::{sync::Arc, vec::Vec};
use core::{
    alloc::Layout,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};
use kernel::{
    arch::{
        cpu::{self, Pin},
        paging,
    },
    memory::{
        self, frames,
        percpu::{self, PerCpu, PerCpuError, PerCpuMemory},
    },
    threads::{self, Builder},
};
use suballoc::{PAGES, SizeError, UNIT_SIZE};
use vmalloc::{Kind, PAGE_SIZE};

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("small")
}

fn memory_of(size: usize, align: usize) -> PerCpuMemory {
    PerCpuMemory::zeroed(layout(size, align)).expect("memory enough")
}

/// A byte of a CPU's copy.
fn read(memory: &PerCpuMemory, cpu: usize, index: usize) -> u8 {
    // SAFETY: callers stay inside the memory, which nobody else writes meanwhile.
    unsafe { memory.of(cpu).add(index).read_volatile() }
}

fn fill(memory: &PerCpuMemory, cpu: usize, size: usize, byte: u8) {
    // SAFETY: callers stay inside the memory, which nobody else uses meanwhile.
    unsafe { memory.of(cpu).write_bytes(byte, size) };
}

#[test_case]
fn each_cpu_counts_in_its_own_copy() {
    const STEPS: u64 = 20_000;
    let counters = Arc::new(PerCpu::try_new(|cpu| AtomicU64::new(cpu as u64)).expect("memory enough"));
    let workers: Vec<_> = (0..2 * cpu::online().count())
        .map(|_| {
            let counters = Arc::clone(&counters);
            threads::spawn("count", move || {
                for _ in 0..STEPS {
                    let pin = Pin::new();
                    // Not one instruction: another CPU in the same copy, or this thread moved, would lose steps.
                    let counter = counters.get(&pin);
                    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                }
            })
            .expect("memory enough")
        })
        .collect();
    let steps = workers.len() as u64 * STEPS;
    workers.into_iter().for_each(threads::JoinHandle::join);
    let first: u64 = cpu::online().iter().map(|cpu| cpu as u64).sum();
    assert_eq!(counters.iter().map(|counter| counter.load(Ordering::Relaxed)).sum::<u64>(), first + steps);
}

#[test_case]
fn a_cpu_gets_what_others_call_its_copy() {
    let names = Arc::new(PerCpu::try_new(|cpu| [cpu; 5]).expect("memory enough"));
    for cpu in cpu::online().iter() {
        let seen = Arc::clone(&names);
        let look = move || {
            let pin = Pin::new();
            (pin.cpu(), *seen.get(&pin), core::ptr::from_ref(seen.get(&pin)) as usize)
        };
        let (number, value, address) = Builder::new("look").on_cpu(cpu).spawn(look).expect("memory").join();
        assert_eq!((number, value), (cpu, [cpu; 5]));
        assert_eq!(address, core::ptr::from_ref(names.of(cpu)) as usize);
    }
}

#[test_case]
fn values_are_dropped_once_each() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Noisy(#[expect(dead_code, reason = "takes room")] u32);
    impl Drop for Noisy {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    drop(PerCpu::try_new(|cpu| Noisy(cpu as u32)).expect("memory enough"));
    assert_eq!(DROPPED.swap(0, Ordering::Relaxed), cpu::online().count());
    let nothing = PerCpu::try_new(|_| ()).expect("memory enough");
    assert_eq!(nothing.iter().count(), cpu::online().count());
}

/// Seen failing when the copy of CPU 0 alone is cleared.
#[test_case]
fn memory_is_zeroed_aligned_and_nobody_elses() {
    let mut random = fastrand::Rng::with_seed(4);
    let mut live: Vec<(PerCpuMemory, usize, u8)> = Vec::new();
    for step in 0..4000_u32 {
        if live.len() > 300 || (!live.is_empty() && random.u8(..) < 110) {
            let (memory, size, byte) = live.swap_remove(random.usize(..live.len()));
            for cpu in cpu::online().iter() {
                for index in [0, size / 2, size - 1] {
                    assert_eq!(read(&memory, cpu, index), byte + cpu as u8, "{memory:?}");
                }
            }
            continue;
        }
        let size = 1 + random.usize(..if step % 20 == 0 { 50_000 } else { 1024 });
        let align = 1 << random.u8(0..=12);
        let memory = memory_of(size, align);
        let byte = random.u8(..100);
        for cpu in cpu::online().iter() {
            assert!((memory.of(cpu).as_ptr() as usize).is_multiple_of(align));
            assert!((0..size).step_by(7).all(|index| read(&memory, cpu, index) == 0), "{memory:?}");
            fill(&memory, cpu, size, byte + cpu as u8);
        }
        live.push((memory, size, byte));
    }
}

#[test_case]
fn cpus_allocate_and_free_at_once() {
    let workers: Vec<_> = (0..cpu::online().count())
        .map(|seed| {
            let work = move || {
                let mut random = fastrand::Rng::with_seed(seed as u64);
                for _ in 0..20 {
                    let memory: Vec<_> = (0..100)
                        .map(|_| {
                            let size = random.usize(1..=3000);
                            let memory = memory_of(size, 1 << random.u8(..=11));
                            cpu::online().iter().for_each(|cpu| fill(&memory, cpu, size, size as u8));
                            (memory, size)
                        })
                        .collect();
                    for (memory, size) in &memory {
                        let whole =
                            |cpu| (0..*size).step_by(13).all(|at| read(memory, cpu, at) == *size as u8);
                        assert!(cpu::online().iter().all(whole));
                    }
                }
            };
            threads::spawn("worker", work).expect("memory enough")
        })
        .collect();
    workers.into_iter().for_each(threads::JoinHandle::join);
}

/// Seen failing when no page is depopulated.
#[test_case]
fn frames_and_chunks_come_back() {
    let cpus = cpu::online().count();
    let populated = || {
        let chunks = memory::vmalloc().areas().filter(|area| area.kind == Kind::Congruent);
        chunks.fold((0, 0), |(areas, pages), area| (areas + 1, pages + area.populated))
    };
    assert_eq!(populated(), (0, 0));
    let mut held: Vec<_> = (0..2 * PAGES).map(|_| memory_of(PAGE_SIZE, PAGE_SIZE)).collect();
    assert_eq!(populated(), (2 * cpus, 2 * PAGES * cpus));
    held.truncate(PAGES + 1);
    let (areas, pages) = populated();
    assert!(areas == 2 * cpus && pages <= (PAGES + 1 + 64) * cpus, "{areas} areas, {pages} pages");
    held.truncate(1);
    let (areas, pages) = populated();
    assert!(areas <= 2 * cpus && pages <= 65 * cpus, "{areas} areas, {pages} pages");
    held.clear();
    let (areas, pages) = populated();
    assert!(areas == cpus && pages <= 64 * cpus, "{areas} areas, {pages} pages");
    percpu::trim();
    assert_eq!(populated(), (0, 0));
}

#[test_case]
fn what_cannot_be_is_refused_and_loses_nothing() {
    let refused = |size, align| PerCpuMemory::zeroed(layout(size, align)).expect_err("wrong");
    assert_eq!(refused(0, 1), PerCpuError::Size(SizeError::Zero));
    let size = UNIT_SIZE + 1;
    assert_eq!(refused(size, 1), PerCpuError::Size(SizeError::TooLarge { size }));
    assert_eq!(refused(1, 8192), PerCpuError::Size(SizeError::BadAlignment { align: 8192 }));
    let mut held = Vec::new();
    held.reserve_exact(4096);
    let error = loop {
        match PerCpuMemory::zeroed(layout(UNIT_SIZE, 64)) {
            Ok(memory) => held.push(memory),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, PerCpuError::Page(_) | PerCpuError::Chunk(_) | PerCpuError::TooManyChunks),
        "{error}"
    );
    // A unit of each CPU at most is missing, unless one CPU alone has more memory than all its units take.
    let out_of_chunks = matches!(error, PerCpuError::TooManyChunks);
    assert!(out_of_chunks || frames::counts().free < (2 * PAGES * cpu::online().count()) as u64, "{error}");
    held.pop();
    held.push(memory_of(UNIT_SIZE, 64));
    assert!(paging::lookup(held[0].of(0).as_ptr() as u64).is_some());
}
