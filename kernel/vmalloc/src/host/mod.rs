//! A machine of the host's memory, for tests: frames, page tables, and CPUs whose TLBs never forget by themselves.
//!
//! Code that uses the library is tested on it like any other code, by `cargo test`, with the feature `host`
//! among the `dev-dependencies`:
//!
//! ```
//! use vmalloc::{PAGE_SIZE, Vmalloc, host::{Machine, PageFault}};
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let machine = Machine::new(2, 500); // two CPUs, 500 frames
//! let range = 0xffff_c900_0000_0000..0xffff_c900_4000_0000;
//! // SAFETY: nothing else is mapped there, and the simulated CPUs alone use what is allocated.
//! let vmalloc = unsafe { Vmalloc::new(&machine, range)? };
//!
//! let area = vmalloc.vzalloc(PAGE_SIZE)?;
//! let start = area.addr().get();
//! machine.write_bytes(start, b"written by CPU 0")?;
//! machine.run_on(1);
//! let mut bytes = [0; 16];
//! machine.read_bytes(start, &mut bytes)?;
//! assert_eq!(&bytes, b"written by CPU 0");
//! // Behind it is a guard page.
//! assert_eq!(machine.read_bytes(start + PAGE_SIZE, &mut bytes), Err(PageFault));
//!
//! // SAFETY: nobody uses it any more.
//! unsafe { vmalloc.vfree(area)? };
//! machine.check(); // no CPU remembers what it must not
//! drop(vmalloc);
//! machine.assert_all_frames_back();
//! # Ok(()) }
//! ```
//!
//! # What it finds
//! A real TLB may drop a translation at any time, which hides missing flushes. Here each CPU keeps all it ever loaded:
//! translations (size, rights, memory type, dirty bit) and paths to leaf tables. The machine panics, saying why,
//!
//! * when a frame or a table is given back that a CPU can still reach; an idle CPU reaches no page, but walks
//!   through tables;
//! * when a CPU may have two translations of a page that it must not have at once;
//! * in [`Machine::check`], when a CPU still allows what the page tables no longer allow.
//!
//! Frames that are taken or given back are overwritten, so that code that reads a frame that is not its own
//! notices. Frames run out when [`Machine::fail_after`] says so.
//!
//! # One thread
//! One thread plays all CPUs: [`Machine::run_on`] says which one runs, so a test does the same in every run. The
//! machine implements [`Platform`](crate::Platform) by reference, and serves as many instances as there are references.
//! It is not [`Sync`], nor is an instance on it: what would be a `static` is a `thread_local!` in the test.
//!
//! # Pointers
//! Addresses are the simulated CPUs'. The program itself must not follow a pointer that the library returns, nor
//! read or write owning types such as [`Area`](crate::Area), except in a range that [`Machine::pointers`] returned.
// What only the library's own tests have other CPUs do is part of the machine everywhere.
#![cfg_attr(not(test), allow(dead_code, reason = "the library's own tests use it"))]

extern crate std;

mod entry;
mod flusher;
mod interleave;
mod memory;
mod mmu;
mod moments;
mod others;
mod platform;
mod readers;
mod threads;
mod tlb;

use crate::{BLOCK_SIZE, Event, Frame, Shootdown, TlbState};
use core::{
    fmt,
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering},
};
use memory::Blocks;
pub(crate) use moments::Moment;
use moments::Moments;
use others::{Mutex, MutexGuard, Others};
pub use platform::Pin;
use readers::Readers;
use std::{collections::BTreeSet, vec::Vec};
use thiserror::Error;
use threads::Played;
use tlb::Tlb;

#[cfg(test)]
pub(crate) use crate::tests::random::Random;
#[cfg(test)]
pub(crate) use entry::{ACCESSED, DIRTY, HUGE, NO_EXECUTE, PRESENT, WRITABLE};

/// The number of the first frame, unless a machine has frames [from number 0](Machine::from_frame_zero) on.
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

/// A machine with some frames and CPUs, all of which have the same page tables.
///
/// [The module's page](self) says how it is used, and what it finds.
pub struct Machine {
    /// What the host gave, and where the frames begin in it.
    allocation: NonNull<u8>,
    memory: NonNull<u8>,
    frames: usize,
    cpus: usize,
    /// The number of the first frame in `memory`.
    first: u64,
    root: Frame,
    state: Mutex<State>,
    /// The CPU that runs, but for threads that play one.
    cpu: AtomicUsize,
    played: Played,
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
    /// Memory for pointers of the program.
    ranges: Mutex<Vec<Blocks>>,
}

// SAFETY: `memory` is only a base address; what lies there is shared under the platform's promises. Threads of a test that
// are pinned at once say that they run on different CPUs, or run as one that is put off its CPU does.
#[cfg(any(test, shuttle))]
unsafe impl Sync for Machine {}

/// Why an access of a simulated CPU faults: there is no translation, or it does not allow a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("page fault")]
pub struct PageFault;

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cpus, frames) = (self.cpus, self.frames);
        f.debug_struct("Machine").field("cpus", &cpus).field("frames", &frames).finish_non_exhaustive()
    }
}

impl Machine {
    /// Makes a machine with CPUs that are online and forget nothing, and with free frames. The first CPU
    /// runs. The CPUs' `TlbState`s, some bytes for each CPU, are never given back.
    ///
    /// # Panics
    /// if there is no CPU, there are more than [`MAX_CPUS`](crate::MAX_CPUS), or the host has no memory for the frames.
    pub fn new(cpus: usize, frames: usize) -> Self {
        Self::with_root(cpus, frames, FIRST_FRAME, FIRST_FRAME)
    }

    /// Makes a machine as [`new`](Self::new) does, whose memory begins at physical address 0: the first frame that it gives
    /// is number 0.
    ///
    /// # Panics
    /// as `new` does.
    pub fn from_frame_zero(cpus: usize, frames: usize) -> Self {
        Self::with_root(cpus, frames, 0, frames as u64)
    }

    /// Makes a machine of `frames` frames and one more, the `root`, which is numbered as the others are, from `first` on.
    fn with_root(cpus: usize, frames: usize, first: u64, root: u64) -> Self {
        // SAFETY: the size is not zero.
        let allocation = unsafe { std::alloc::alloc_zeroed(Self::layout(frames + 1)) };
        let allocation = NonNull::new(allocation).expect("host memory");
        // Frame numbers and addresses agree on 2 MiB alignment, as huge frames want it.
        // SAFETY: `layout` has room for that.
        let memory = unsafe { allocation.add(allocation.align_offset(BLOCK_SIZE)) };
        let state = State {
            free: (first..=first + frames as u64).filter(|&frame| frame != root).collect(),
            tlbs: (0..cpus).map(|_| Tlb::default()).collect(),
            asleep: std::vec![false; cpus],
            page_flushes: 0,
            full_flushes: 0,
            interrupts: 0,
            broadcasts: (0, 0),
        };
        let machine = Self {
            allocation,
            memory,
            frames,
            cpus,
            first,
            root: Frame::new(root),
            state: Mutex::new(state),
            cpu: AtomicUsize::new(0),
            played: Played::new(),
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
            ranges: Mutex::new(Vec::new()),
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

    /// Makes a machine, as [`new`](Self::new) does, that flushes all its CPUs by broadcast, as machines with
    /// the instruction INVLPGB can.
    pub fn broadcasting(cpus: usize, frames: usize) -> Self {
        let mut machine = Self::new(cpus, frames);
        machine.broadcasts = true;
        machine
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere does not make the counters wrong.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Makes the calls that follow run on this CPU: the library's, and accesses to memory.
    ///
    /// # Panics
    /// if the machine has no such CPU.
    pub fn run_on(&self, cpu: usize) {
        assert!(cpu < self.cpus, "the machine has CPUs 0 to {}, and no CPU {cpu}", self.cpus - 1);
        if !threads::act_as(cpu) {
            self.cpu.store(cpu, Ordering::Relaxed);
        }
    }

    /// Gives a CPU nothing to run, until it is [woken](Self::wake).
    pub fn sleep(&self, cpu: usize) {
        let before = self.current();
        self.run_on(cpu);
        // SAFETY: it runs nothing, and touches nothing, until it is woken.
        unsafe { self.shootdown.enter_idle(&self) };
        self.state().asleep[cpu] = true;
        self.run_on(before);
    }

    /// Wakes a CPU that sleeps. Until it catches up, it speculates along the paths through tables that it
    /// remembers, which are checked when tables are given back.
    pub fn wake(&self, cpu: usize) {
        if !self.is_asleep(cpu) {
            return;
        }
        let before = self.current();
        self.run_on(cpu);
        self.shootdown.leave_idle(&self);
        self.state().asleep[cpu] = false;
        self.run_on(before);
    }

    /// Returns whether a CPU sleeps.
    pub fn is_asleep(&self, cpu: usize) -> bool {
        self.state().asleep[cpu]
    }

    /// The CPU that runs.
    fn current(&self) -> usize {
        threads::acting().unwrap_or_else(|| self.cpu.load(Ordering::Relaxed))
    }

    /// Sets whether the calls that follow are made in an interrupt handler.
    pub fn set_interrupt(&self, inside: bool) {
        self.in_interrupt.store(inside, Ordering::Relaxed);
    }

    /// Tells the library from now on that there is a thread that purges, though it never runs.
    pub fn starve_purger(&self) {
        self.starved_purger.store(true, Ordering::Relaxed);
    }

    /// Gives the CPUs another page attribute table. Nothing is mapped.
    pub(crate) fn set_memory_types(&self, pat: u64) {
        self.memory_types.store(pat, Ordering::Relaxed);
    }

    /// What was traced since the last call.
    pub(crate) fn take_events(&self) -> Vec<Event> {
        let mut events = self.events.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        core::mem::take(&mut *events)
    }

    /// Returns how often a CPU flushed a page.
    pub fn page_flushes(&self) -> usize {
        self.state().page_flushes
    }

    /// Returns how often a CPU flushed everything.
    pub fn full_flushes(&self) -> usize {
        self.state().full_flushes
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.allocation.as_ptr(), Self::layout(self.frames + 1)) };
    }
}
