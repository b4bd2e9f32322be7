//! The adapter on simulated CPUs, one for each thread, and on memory of the test's own.

extern crate std;

mod instances;
mod sources;

use super::{
    hardware::{
        self,
        simulated::{CPU, CR3, PAT},
    },
    *,
};
use crate::{CpuSet, Flusher, Forbid, Frame, PAGE_SIZE, Platform, Returned, TlbState};
use core::{
    cell::Cell,
    hint, iter,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    boxed::Box,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
    vec::Vec,
};

const FRAMES: usize = 300;
/// Behind the top level page table.
const FIRST: u64 = CR3 / PAGE_SIZE as u64 + 1;
const RANGE: core::ops::Range<usize> = 0xffff_c900_0000_0000..0xffff_c900_4000_0000;

/// Frames in the test's memory, after one for the top level page table. It is also a source of those that are free.
struct Frames {
    bytes: *mut u8,
    free: Vec<Frame>,
    takes_back: bool,
}

const fn layout() -> Layout {
    match Layout::from_size_align((FRAMES + 1) * PAGE_SIZE, PAGE_SIZE) {
        Ok(layout) => layout,
        Err(_) => panic!(),
    }
}

impl Frames {
    fn new(takes_back: bool) -> Self {
        // SAFETY: the layout is not empty.
        let bytes = unsafe { alloc_zeroed(layout()) };
        let free = (0..FRAMES as u64).rev().map(|number| Frame::new(FIRST + number)).collect();
        Self { bytes, free, takes_back }
    }

    fn memory(&self) -> Memory {
        let offset = self.bytes as u64 - CR3;
        let first = FIRST * PAGE_SIZE as u64;
        Memory::new(offset, iter::once(first..first + (FRAMES * PAGE_SIZE) as u64))
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // SAFETY: made in `new` with this layout.
        unsafe { dealloc(self.bytes, layout()) };
    }
}

impl FrameSource for Frames {
    fn take(&mut self) -> Option<Frame> {
        assert!(!hardware::interrupts_are_on(), "a frame is taken with interrupts on");
        self.free.pop()
    }

    unsafe fn give(&mut self, frame: Frame) -> bool {
        assert!(!hardware::interrupts_are_on(), "a frame is given with interrupts on");
        assert!(frame.number() >= FIRST && !self.free.contains(&frame));
        if self.takes_back {
            self.free.push(frame);
        }
        self.takes_back
    }
}

fn one_cpu(frames: Frames) -> Machine<Frames> {
    // SAFETY: the frames are there, and no CPU walks the page tables.
    unsafe { Machine::one_cpu(frames.memory(), frames) }.unwrap()
}

fn free(machine: &Machine<Frames>) -> usize {
    machine.locked(|supply| supply.source.free.len())
}

/// Seen failing with `locked` that left interrupts on, and with a pin that turned them on when an inner one went.
#[test]
fn interrupts_are_off_where_they_must_be_and_then_what_they_were() {
    let machine = one_cpu(Frames::new(true));
    assert!(hardware::interrupts_are_on());
    let outer = machine.pin();
    let inner = machine.pin();
    assert!(!hardware::interrupts_are_on());
    drop(inner);
    machine.uninterrupted(|| assert!(!hardware::interrupts_are_on()));
    assert!(!hardware::interrupts_are_on() && !machine.pause() && !machine.synchronize());
    drop(outer);
    assert!(hardware::interrupts_are_on() && machine.synchronize());
    let mut taken = None;
    // The source looks itself.
    assert_eq!(machine.take_frames(1, |frame| taken = Some(frame)), 1);
    machine.give_frames(Returned::new(taken.into_iter()));
}

/// Seen failing with a list that lost all but the frame given last.
#[test]
fn what_an_allocator_does_not_take_back_is_used_again() {
    for takes_back in [true, false] {
        let machine = one_cpu(Frames::new(takes_back));
        let mut taken = Vec::new();
        assert_eq!(machine.take_frames(FRAMES + 1, |frame| taken.push(frame)), FRAMES);
        assert_eq!((machine.free_frames(), machine.total_frames()), (0, FRAMES));
        machine.give_frames(Returned::new(taken.iter().copied()));
        assert_eq!(machine.free_frames(), FRAMES);
        assert_eq!(free(&machine), if takes_back { FRAMES } else { 0 });
        // The kernel has them, too, once the source is at its end.
        let own = machine.take_frame().unwrap();
        assert_eq!(machine.free_frames(), FRAMES - 1);
        // SAFETY: taken above, and not used.
        unsafe { machine.give_frame(own) };
        let mut again = Vec::new();
        assert_eq!(machine.take_frames(FRAMES + 1, |frame| again.push(frame)), FRAMES);
        taken.sort();
        again.sort();
        assert_eq!(taken, again);
    }
}

/// Seen failing with a check that looked at bit 13 of CR4, and with one of CR4 alone for shadow stacks.
#[test]
fn a_cpu_that_is_set_up_otherwise_is_refused() {
    let refusal = || {
        let frames = Frames::new(true);
        // SAFETY: as in `one_cpu`.
        unsafe { Machine::one_cpu(frames.memory(), frames) }.err()
    };
    assert_eq!(refusal(), None);
    let with = |set: fn(), expected| {
        CPU.with(|cpu| (cpu.cr0.set(1 << 16), cpu.cr4.set(0), cpu.efer.set(1 << 11)));
        set();
        assert_eq!(refusal(), Some(expected));
    };
    with(|| CPU.with(|cpu| cpu.efer.set(1 << 8)), UnfitCpu::NoExecuteOff);
    with(|| CPU.with(|cpu| cpu.cr0.set(1)), UnfitCpu::WriteProtectOff);
    with(|| CPU.with(|cpu| cpu.cr4.set(1 << 12)), UnfitCpu::FiveLevels);
    with(|| CPU.with(|cpu| cpu.cr4.set(1 << 17)), UnfitCpu::ProcessContexts);
    with(|| CPU.with(|cpu| (cpu.cr4.set(1 << 23), cpu.shadow_stacks.set(1)).0), UnfitCpu::ShadowStacks);
    // Branches alone are tracked.
    CPU.with(|cpu| cpu.shadow_stacks.set(1 << 2));
    assert_eq!(refusal(), None);
}

/// Seen failing with a CPU that is not asked for its memory types.
#[test]
fn a_cpu_with_other_memory_types_does_not_come_online() {
    let machine = two_cpus(&|_| ());
    NUMBER.set(1);
    CPU.with(|cpu| cpu.pat.set(0x0007_0406_0007_0406));
    // SAFETY: nothing is mapped yet.
    assert_eq!(unsafe { machine.set_online() }, Err(UnfitCpu::MemoryTypes));
    assert_eq!((machine.shootdown().online_count(), machine.page_attribute_table()), (1, PAT));
    CPU.with(|cpu| cpu.pat.set(PAT));
    // SAFETY: as above.
    assert_eq!(unsafe { machine.set_online() }, Ok(()));
    assert_eq!(machine.shootdown().online_count(), 2);
    NUMBER.set(0);
}

#[test]
fn what_the_cpu_says_is_told() {
    let machine = one_cpu(Frames::new(true));
    assert_eq!((machine.root(), machine.physical_bits()), (Frame::new(1), 40));
    assert_eq!(machine.page_attribute_table(), PAT);
    let flushes = || CPU.with(|cpu| cpu.full_flushes.get());
    let before = flushes();
    machine.flush_all();
    assert_eq!(flushes(), before + 1);
    machine.flush_page(RANGE.start);
    assert_eq!((flushes(), CPU.with(|cpu| cpu.flushed.get())), (before + 1, RANGE.start));
    let frame = Frame::new(FIRST + 3);
    assert_eq!(machine.frame_of(machine.direct_map(frame)), frame);
}

/// The number of the simulated CPU that a thread is.
fn here() -> usize {
    NUMBER.get()
}

std::thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

type Two<'a> = Machine<Frames, (fn() -> usize, &'a (dyn Fn(CpuSet) + Sync))>;

fn two_cpus(interrupt: &(dyn Fn(CpuSet) + Sync)) -> Two<'_> {
    let frames = Frames::new(true);
    let others = Box::leak(Box::new([TlbState::new()]));
    // SAFETY: as in `one_cpu`.
    unsafe { Machine::several_cpus(frames.memory(), frames, (here as fn() -> usize, interrupt), others) }
        .unwrap()
}

// SAFETY: the memory is the source's own.
unsafe impl Send for Frames {}

/// Seen failing with a wait that served nobody: each waited for the other. And with a grace period that was over at once.
#[test]
fn cpus_that_wait_for_each_other_serve_and_a_grace_period_waits_for_an_interrupt() {
    // Whether an interrupt waits for each of the CPUs.
    let sent = [const { AtomicBool::new(false) }; 2];
    let interrupt = |cpus: CpuSet| cpus.iter().for_each(|cpu| sent[cpu].store(true, Ordering::SeqCst));
    let machine = two_cpus(&interrupt);
    // Takes interrupts until `over` says so.
    let take_interrupts = |over: &dyn Fn() -> bool| {
        while !over() {
            if sent[here()].swap(false, Ordering::SeqCst) {
                machine.answer();
            }
        }
    };
    let (online, flushed, over) = (AtomicUsize::new(1), AtomicUsize::new(0), AtomicUsize::new(0));
    let flush = || {
        while online.load(Ordering::SeqCst) != 2 {
            hint::spin_loop();
        }
        for page in 1..200 {
            let pin = machine.pin();
            let pages = page * PAGE_SIZE..(page + 1) * PAGE_SIZE;
            machine.shootdown().flush_pages(&machine, &[pages], Forbid::Use);
            drop(pin);
        }
        flushed.fetch_add(1, Ordering::SeqCst);
        // The other one may wait for this one's last answer.
        take_interrupts(&|| flushed.load(Ordering::SeqCst) == 2);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            NUMBER.set(1);
            // SAFETY: nothing is mapped yet.
            unsafe { machine.set_online() }.unwrap();
            online.store(2, Ordering::SeqCst);
            flush();
            // What is left of the flushes.
            take_interrupts(&|| !sent[1].load(Ordering::SeqCst));
            online.store(3, Ordering::SeqCst);
            while !sent[1].load(Ordering::SeqCst) {
                hint::spin_loop();
            }
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(over.load(Ordering::SeqCst), 0, "a grace period passed without an interrupt");
            machine.answer();
        });
        flush();
        while online.load(Ordering::SeqCst) != 3 {
            hint::spin_loop();
        }
        assert!(machine.synchronize());
        over.store(1, Ordering::SeqCst);
    });
}

#[test]
fn a_cpu_that_does_not_answer_is_named() {
    let machine = two_cpus(&|_| ());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            NUMBER.set(1);
            // SAFETY: nothing is mapped yet.
            unsafe { machine.set_online() }.unwrap();
        });
    });
    CPU.with(|cpu| cpu.pace.set(1 << 30));
    let said = catch_unwind(AssertUnwindSafe(|| machine.synchronize())).unwrap_err();
    assert!(said.downcast_ref::<std::string::String>().unwrap().starts_with("CPU 1 does not answer"));
}

/// Seen failing with a CPU that is blamed for the clock alone.
#[test]
fn a_cpu_that_answers_while_the_clock_leaps_is_not_blamed() {
    let machine = one_cpu(Frames::new(true));
    CPU.with(|cpu| cpu.pace.set(1 << 38));
    let looks = Cell::new(0);
    machine.wait(1, || looks.replace(looks.get() + 1) > 0);
    assert!(looks.get() > 1);
}

/// CPUs whose threads may wait or not.
struct Threads {
    may_wait: AtomicBool,
    pauses: AtomicUsize,
    sent: AtomicUsize,
}

impl Cpus for &Threads {
    fn here(&self) -> usize {
        here()
    }

    fn interrupt(&self, cpus: CpuSet) {
        assert!(cpus.iter().eq([1]));
        self.sent.fetch_add(1, Ordering::SeqCst);
    }

    fn pause(&self) -> bool {
        self.pauses.fetch_add(1, Ordering::SeqCst);
        self.may_wait.load(Ordering::SeqCst)
    }
}

/// Seen failing with a machine that pauses with interrupts off.
#[test]
fn several_threads_wait_for_grace_periods_where_they_may() {
    let cpus =
        Threads { may_wait: AtomicBool::new(true), pauses: AtomicUsize::new(0), sent: AtomicUsize::new(0) };
    let frames = Frames::new(true);
    let others = Box::leak(Box::new([TlbState::new()]));
    // SAFETY: as in `one_cpu`.
    let machine = unsafe { Machine::several_cpus(frames.memory(), frames, &cpus, others) }.unwrap();
    assert!(machine.synchronize() && cpus.pauses.load(Ordering::SeqCst) == 0, "nobody is waited for");
    machine.uninterrupted(|| assert!(!machine.pause(), "this may be the one to wait for"));
    std::thread::scope(|scope| {
        let waits = || scope.spawn(|| assert!(machine.synchronize()));
        // The other threads are CPU 0.
        NUMBER.set(1);
        // SAFETY: nothing is mapped yet.
        unsafe { machine.set_online() }.unwrap();
        let threads = [waits(), waits()];
        while cpus.pauses.load(Ordering::SeqCst) < 10 {
            if threads.iter().any(|thread| thread.is_finished()) {
                break;
            }
            hint::spin_loop();
        }
        let (pauses, sent) = (cpus.pauses.load(Ordering::SeqCst), cpus.sent.load(Ordering::SeqCst));
        while !threads.iter().all(|thread| thread.is_finished()) {
            machine.answer();
        }
        // Asserted when nobody waits for an answer any more.
        assert!(pauses >= 10 && sent == 1, "a grace period passed at once, or its caller was refused");
        NUMBER.set(0);
    });
    assert_eq!(cpus.sent.load(Ordering::SeqCst), 2);
    cpus.may_wait.store(false, Ordering::SeqCst);
    assert!(!machine.synchronize());
    assert_eq!(cpus.sent.load(Ordering::SeqCst), 2, "CPUs are interrupted for nothing");
}
