//! A simulated machine for host tests: frames, page tables, and CPUs whose TLBs forget nothing
//! until they are told to.
//!
//! A real TLB may drop a translation at any time, which hides missing flushes. Here each CPU keeps
//! every translation, with its size, rights and dirty bit, and every way to a leaf table, that it ever loaded.
//! The oracle: whenever a frame or a table is given back, no CPU may still be able to reach it, where an idle CPU
//! reaches no page, but walks through tables; no CPU may have two translations of a page that it must not have at
//! once; [`Machine::check`] finds translations that disagree with the page tables. Other CPUs can be made to act
//! in the middle of a call of the library ([`Machine::interleave`]).

extern crate std;

mod entry;
mod flusher;
mod handler;
mod mmu;
mod moments;
mod others;
mod platform;
mod random;
mod readers;
mod tlb;

use crate::{BLOCK_SIZE, CpuPin, Event, Frame, LockClass, PAGE_SIZE, Shootdown, Table, TlbState};
use core::{
    ops::Range,
    panic::Location,
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering},
};
use entry::PRESENT;
pub(crate) use moments::Moment;
use moments::Moments;
use others::{Bar, Others};
pub(crate) use random::Random;
use readers::{Readers, Reading};
use std::{alloc::Layout, collections::BTreeSet, sync::Mutex, vec::Vec};
use tlb::Tlb;

/// Frame numbers start here, so that 0 is never a frame.
const FIRST_FRAME: u64 = 0x1000;

struct State {
    free: BTreeSet<u64>,
    tlbs: Vec<Tlb>,
    /// CPUs that have nothing to run, or have not caught up since.
    asleep: Vec<bool>,
    page_flushes: usize,
    full_flushes: usize,
    interrupts: usize,
    /// Broadcasts of pages, and of everything.
    broadcasts: (usize, usize),
}

/// A machine of some frames and CPUs.
pub(crate) struct Machine {
    memory: NonNull<u8>,
    frames: usize,
    root: Frame,
    state: Mutex<State>,
    cpu: AtomicUsize,
    /// Frame and table allocations left before they start to fail; negative: they never do.
    allowance: AtomicIsize,
    shootdown: Shootdown,
    in_interrupt: AtomicBool,
    /// Whether there is a thread that purges, and never gets to.
    starved_purger: AtomicBool,
    events: Mutex<Vec<Event>>,
    broadcasts: bool,
    readers: Readers,
    others: Others,
    moments: Moments,
    /// Frames that were taken, those that came back included.
    taken: AtomicUsize,
    /// The page attribute table: at first as at reset, but for entry 5, which is write combining.
    memory_types: AtomicU64,
}

// SAFETY: `memory` is only a base address; what lies there is shared under the platform's promises.
unsafe impl Sync for Machine {}

/// No translation: the simulated access faults.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PageFault;

pub(crate) struct Pin<'m> {
    cpu: usize,
    machine: &'m Machine,
    _reading: Reading<'m>,
}

impl CpuPin for Pin<'_> {
    fn cpu(&self) -> usize {
        self.cpu
    }

    fn acquiring(&self, _: LockClass, _: &'static Location<'static>) {
        core::mem::forget(Bar::new());
    }

    /// Others may have waited for the lock, and act at once.
    fn released(&self, _: LockClass) {
        Bar::lift();
        self.machine.moment();
    }
}

impl Machine {
    pub fn new(cpus: usize, frames: usize) -> Self {
        // SAFETY: the size is not zero.
        let memory = unsafe { std::alloc::alloc_zeroed(Self::layout(frames + 1)) };
        let memory = NonNull::new(memory).expect("host memory");
        let state = State {
            free: (FIRST_FRAME + 1..=FIRST_FRAME + frames as u64).collect(),
            tlbs: (0..cpus).map(|_| Tlb::default()).collect(),
            asleep: std::vec![false; cpus],
            page_flushes: 0,
            full_flushes: 0,
            interrupts: 0,
            broadcasts: (0, 0),
        };
        let machine = Self {
            memory,
            frames,
            root: Frame::new(FIRST_FRAME),
            state: Mutex::new(state),
            cpu: AtomicUsize::new(0),
            allowance: AtomicIsize::new(-1),
            shootdown: Shootdown::new((1..cpus).map(|_| TlbState::new()).collect::<Vec<_>>().leak()),
            in_interrupt: AtomicBool::new(false),
            starved_purger: AtomicBool::new(false),
            events: Mutex::new(Vec::new()),
            broadcasts: false,
            readers: Readers::new(),
            others: Others::default(),
            moments: Moments::new(),
            taken: AtomicUsize::new(0),
            memory_types: AtomicU64::new(0x0007_0106_0007_0406),
        };
        for cpu in 0..cpus {
            machine.run_on(cpu);
            // SAFETY: there is no instance yet.
            unsafe { machine.shootdown.set_online(&&machine, false) };
        }
        machine.run_on(0);
        machine.state().full_flushes = 0;
        machine
    }

    /// A machine that flushes all its CPUs by broadcast.
    pub fn broadcasting(cpus: usize, frames: usize) -> Self {
        let mut machine = Self::new(cpus, frames);
        machine.broadcasts = true;
        machine
    }

    fn layout(frames: usize) -> Layout {
        // Frame numbers and addresses agree on 2 MiB alignment, as huge frames want it.
        Layout::from_size_align(frames * PAGE_SIZE, BLOCK_SIZE).expect("a small layout")
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A test that panicked elsewhere does not make the counters wrong.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The library's calls that follow run on this CPU.
    pub fn run_on(&self, cpu: usize) {
        self.cpu.store(cpu, Ordering::Relaxed);
    }

    /// Gives a CPU nothing to run, until it is [woken](Self::wake).
    pub fn sleep(&self, cpu: usize) {
        let before = self.cpu.swap(cpu, Ordering::Relaxed);
        // SAFETY: it runs nothing, and touches nothing, until it is woken.
        unsafe { self.shootdown.enter_idle(&self) };
        self.state().asleep[cpu] = true;
        self.run_on(before);
    }

    /// Wakes a CPU that sleeps. What it speculates before it catches up walks by the ways that it has, which are
    /// checked when tables are given back.
    pub fn wake(&self, cpu: usize) {
        if !self.shootdown.is_idle(cpu) {
            return;
        }
        let before = self.cpu.swap(cpu, Ordering::Relaxed);
        self.shootdown.leave_idle(&self);
        self.state().asleep[cpu] = false;
        self.run_on(before);
    }

    /// Whether a CPU sleeps.
    pub fn is_asleep(&self, cpu: usize) -> bool {
        self.state().asleep[cpu]
    }

    /// Whether the library's calls that follow are made in an interrupt handler.
    pub fn set_interrupt(&self, inside: bool) {
        self.in_interrupt.store(inside, Ordering::Relaxed);
    }

    /// Has what waits be purged by a thread that never runs.
    pub fn starve_purger(&self) {
        self.starved_purger.store(true, Ordering::Relaxed);
    }

    /// The first `allocations` frame and table allocations that follow succeed, none after them.
    pub fn fail_after(&self, allocations: usize) {
        self.allowance.store(allocations as isize, Ordering::Relaxed);
    }

    /// Gives the CPUs another page attribute table. Nothing is mapped.
    pub fn set_memory_types(&self, pat: u64) {
        self.memory_types.store(pat, Ordering::Relaxed);
    }

    /// What was traced since the last call.
    pub fn take_events(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        core::mem::take(&mut *events)
    }

    pub fn never_fail(&self) {
        self.allowance.store(-1, Ordering::Relaxed);
    }

    fn may_allocate(&self) -> bool {
        let before = self.allowance.load(Ordering::Relaxed);
        if before > 0 {
            self.allowance.store(before - 1, Ordering::Relaxed);
        }
        before != 0
    }

    pub fn free_frames(&self) -> usize {
        self.state().free.len()
    }

    /// Single frames and tables that were taken so far, whether or not they came back.
    pub fn frames_taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    pub fn page_flushes(&self) -> usize {
        self.state().page_flushes
    }

    pub fn full_flushes(&self) -> usize {
        self.state().full_flushes
    }

    /// Every frame but the root and the directories it links is free.
    pub fn assert_all_frames_back(&self) {
        let directories: usize = self
            .links(self.root)
            .map(|upper| 1 + self.links(upper).map(|lower| 1 + self.links(lower).count()).sum::<usize>())
            .sum();
        assert_eq!(self.free_frames() + directories, self.frames, "frames are missing");
    }

    fn links(&self, table: Frame) -> impl Iterator<Item = Frame> {
        let table = self.table(table);
        (0..512).filter_map(move |index| {
            let entry = table[index].load(Ordering::Relaxed);
            (entry & PRESENT != 0).then(|| Frame::new(entry::frame(entry)))
        })
    }

    /// The bytes of a frame, as the machine itself sees them.
    fn bytes(&self, frame: Frame) -> NonNull<u8> {
        let index = (frame.number() - FIRST_FRAME) as usize;
        assert!(index <= self.frames, "no frame: {frame:?}");
        // SAFETY: inside the allocation.
        unsafe { self.memory.byte_add(index * PAGE_SIZE) }
    }

    fn table(&self, frame: Frame) -> &Table {
        // SAFETY: the frame is inside `memory`, aligned, initialised with zeros.
        unsafe { self.bytes(frame).cast::<Table>().as_ref() }
    }

    fn take(&self) -> Option<Frame> {
        let frame = self.may_allocate().then(|| self.state().free.pop_first().map(Frame::new)).flatten();
        self.taken.fetch_add(frame.is_some().into(), Ordering::Relaxed);
        frame
    }

    fn give(&self, frames: Range<u64>) {
        let mut state = self.state();
        // One that is offline uses and speculates on nothing.
        let online = self.shootdown.online();
        for frame in frames {
            assert!(frame > FIRST_FRAME && frame <= FIRST_FRAME + self.frames as u64, "no frame: {frame:#x}");
            for (cpu, tlb) in state.tlbs.iter().enumerate().filter(|&(cpu, _)| online.contains(cpu)) {
                let (page, table) = tlb.reaches(frame);
                // A CPU that sleeps uses no page before it has flushed. But it speculates, and walks.
                let reached = table || page && !state.asleep[cpu];
                assert!(!reached, "frame {frame:#x} was given back while CPU {cpu} can reach it");
            }
            // Who still reads it finds this.
            // SAFETY: the frame is inside `memory`, and nobody's.
            unsafe { self.bytes(Frame::new(frame)).write_bytes(0xa5, PAGE_SIZE) };
            assert!(state.free.insert(frame), "frame {frame:#x} was given back twice");
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.memory.as_ptr(), Self::layout(self.frames + 1)) };
    }
}
