//! A machine of a few CPUs under a whole instance: each CPU is a thread of the model, and its TLB has all that it ever
//! loaded of an instance's first pages.
//!
//! The machine broadcasts, so that a flush is one step in which nothing else happens: what the flush of a machine that
//! interrupts rests on is in the models of [`shootdown`](super::shootdown). What the machine itself remembers is in
//! atomics of the machine's, which loom does not know of: it is the oracle, and adds no interleavings of its own.

extern crate std;

use crate::{
    BLOCK_SIZE, CpuPin, CpuSet, Flusher, Frame, MAX_CPUS, PAGE_SIZE, Platform, Returned, Scope, Shootdown,
    TlbState, Vmalloc, atomic,
};
use core::{
    cell::{Cell, UnsafeCell},
    ops::Range,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering},
};
use loom::thread;
use std::{
    boxed::Box,
    sync::{Arc, Mutex},
    vec::Vec,
};

/// First address of the instances.
pub(crate) const START: usize = 0xffff_c900_0000_0000;
/// Blocks of the instances.
const BLOCKS: usize = 4;
/// Frames of a machine. Frame 0 is the top level table.
const FRAMES: usize = 32;
/// Pages at the start of each block that TLBs are looked at for.
const WATCHED: usize = 8;
/// CPUs of a machine that counts pins.
const PINNED: usize = 3;
/// Frames that such a machine says it has: enough for magazines.
const MANY_FRAMES: usize = 1 << 20;
/// What is in the frames that it was given back: pairs of a small number and a large one.
const GONE: u64 = 0xffff_ffff_0000_0000;
/// Bytes of a thread's stack: making an instance takes more than loom's 32 KiB.
const STACK: usize = 1 << 20;

loom::thread_local! {
    static CPU: Cell<usize> = Cell::new(0);
}

#[repr(C, align(4096))]
struct Bytes(UnsafeCell<[u8; PAGE_SIZE]>);

/// A machine of frames, page tables and TLBs.
pub(crate) struct Machine {
    memory: Box<[Bytes]>,
    free: Mutex<Vec<u64>>,
    shootdown: Shootdown,
    /// The watched pages, [`WATCHED`] bits a block, that each CPU has translations of.
    tlbs: [AtomicU64; MAX_CPUS],
    /// Accessed with everything that loom does not know of.
    bus: atomic::AtomicU32,
    /// How many pins each CPU has, where the machine can tell when a grace period is over.
    pins: Option<[atomic::AtomicUsize; PINNED]>,
}

// SAFETY: loom runs one thread at a time, and the library shares what lies in the frames under the platform's promises.
unsafe impl Send for Machine {}
// SAFETY: as above.
unsafe impl Sync for Machine {}

/// The machine as an instance has it.
#[derive(Clone)]
pub(crate) struct Host(pub Arc<Machine>);

/// An instance that all CPUs share.
pub(crate) type Shared = Arc<Vmalloc<Host>>;

pub(crate) struct Pin {
    cpu: usize,
    machine: Host,
}

impl CpuPin for Pin {
    fn cpu(&self) -> usize {
        self.cpu
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(pins) = &self.machine.0.pins {
            pins[self.cpu].fetch_sub(1, Ordering::Release);
        }
    }
}

impl Host {
    /// A machine of `cpus` CPUs, all online, that knows of no grace period. The caller is CPU 0.
    fn new(cpus: usize) -> Self {
        Self::with(cpus, None)
    }

    /// A machine as [`new`](Self::new) makes it, of up to [`PINNED`] CPUs, that can wait for a grace period.
    fn with_grace(cpus: usize) -> Self {
        Self::with(cpus, Some(core::array::from_fn(|_| atomic::AtomicUsize::new(0))))
    }

    fn with(cpus: usize, pins: Option<[atomic::AtomicUsize; PINNED]>) -> Self {
        let memory = (0..FRAMES).map(|_| Bytes(UnsafeCell::new([0; PAGE_SIZE]))).collect();
        let machine = Self(Arc::new(Machine {
            memory,
            free: Mutex::new((1..FRAMES as u64).rev().collect()),
            shootdown: Shootdown::new((1..MAX_CPUS).map(|_| TlbState::default()).collect::<Vec<_>>().leak()),
            tlbs: core::array::from_fn(|_| AtomicU64::new(0)),
            bus: atomic::AtomicU32::new(0),
            pins,
        }));
        for cpu in 0..cpus {
            CPU.with(|current| current.set(cpu));
            // SAFETY: nothing is mapped yet.
            unsafe { machine.0.shootdown.set_online(&machine, false) };
        }
        CPU.with(|current| current.set(0));
        machine
    }
}

impl Machine {
    /// Lets another thread come in before what loom does not know of: entries are about to be read or written. Orders
    /// nothing.
    pub fn step(&self) {
        self.bus.fetch_add(0, Ordering::Relaxed);
    }

    /// Frames that are free.
    fn free(&self) -> usize {
        self.free.lock().expect("no panic").len()
    }

    /// Entry `index` of the table in a frame.
    fn entry(&self, frame: u64, index: usize) -> u64 {
        let table = self.memory[frame as usize].0.get().cast::<AtomicU64>();
        // SAFETY: the index is below 512, and entries are atomic to everybody.
        unsafe { (*table.add(index % 512)).load(Ordering::Relaxed) }
    }

    /// Whether the page tables map a page.
    fn maps(&self, address: usize) -> bool {
        let mut frame = Some(0);
        for shift in [39, 30, 21, 12] {
            let Some(table) = frame else { return false };
            let entry = self.entry(table, address >> shift);
            frame = (entry & 1 != 0).then_some(entry << 12 >> 24);
        }
        frame.is_some()
    }

    /// The watched pages among those for which `is_it`, as bits.
    fn watched(is_it: impl Fn(usize) -> bool) -> u64 {
        let address = |bit: usize| START + bit / WATCHED * BLOCK_SIZE + bit % WATCHED * PAGE_SIZE;
        (0..BLOCKS * WATCHED).filter(|&bit| is_it(address(bit))).fold(0, |bits, bit| bits | 1 << bit)
    }

    /// All CPUs load whatever translations there are.
    pub fn speculate(&self) {
        let mapped = Self::watched(|address| self.maps(address));
        self.tlbs.iter().for_each(|tlb| {
            tlb.fetch_or(mapped, Ordering::Relaxed);
        });
    }

    /// Whether a CPU has a translation of a page.
    fn is_cached(&self, address: usize) -> bool {
        let page = Self::watched(|watched| watched == address);
        self.tlbs.iter().any(|tlb| tlb.load(Ordering::Relaxed) & page != 0)
    }
}

/// Makes an instance on a machine of `cpus` CPUs, and runs `model` with it as CPU 0. Then the instance goes, and with it
/// all that it was given.
pub(crate) fn with_instance(cpus: usize, model: impl FnOnce(&Shared) + Send + 'static) {
    let body = move || {
        let machine = Host::new(cpus);
        // SAFETY: the machine's address space has nothing else in it.
        let instance = unsafe { Vmalloc::new(machine.clone(), START..START + BLOCKS * BLOCK_SIZE) };
        let shared = Arc::new(instance.expect("frames enough"));
        let free = machine.0.free();
        model(&shared);
        assert_eq!((shared.lazy_pages(), Arc::strong_count(&shared)), (0, 1), "nothing waits, nobody has it");
        drop(shared);
        // But for the lower directory: whoever drops an instance keeps it, as others may map there.
        assert!(machine.0.free() + 1 >= free, "frames are lost: {} of {free} are free", machine.0.free());
    };
    thread::Builder::new().stack_size(STACK).spawn(body).expect("a thread").join().expect("as it should be");
}

/// Makes a machine of `cpus` CPUs that can wait for a grace period, and runs `model` with it as CPU 0. Afterwards it has
/// all its frames.
pub(crate) fn with_machine(cpus: usize, model: impl FnOnce(&Host) + Send + 'static) {
    let body = move || {
        let machine = Host::with_grace(cpus);
        let free = machine.0.free();
        model(&machine);
        assert_eq!(machine.0.free(), free, "frames are lost");
    };
    thread::Builder::new().stack_size(STACK).spawn(body).expect("a thread").join().expect("as it should be");
}

/// Runs `body` as another CPU.
pub(crate) fn run<T: Clone + Send + 'static, R: Send + 'static>(
    cpu: usize,
    shared: &T,
    body: impl FnOnce(&T) -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let shared = shared.clone();
    let body = move || {
        CPU.with(|current| current.set(cpu));
        body(&shared)
    };
    thread::Builder::new().stack_size(STACK).spawn(body).expect("a thread")
}

/// Does something as another CPU does, whose thread does not run yet.
pub(crate) fn act_as<T>(cpu: usize, act: impl FnOnce() -> T) -> T {
    let before = CPU.with(|current| current.replace(cpu));
    let done = act();
    CPU.with(|current| current.set(before));
    done
}

/// Asserts that no CPU has a translation of a page that is free, in a block.
pub(crate) fn assert_free_pages_are_flushed(instance: &Shared, block: usize) {
    let pin = instance.platform().pin();
    let found = instance.blocks().find(block, &pin).expect("it was opened");
    let pages = found.pages.lock(&pin);
    for page in (0..WATCHED).filter(|&page| pages.is_free(page)) {
        let address = instance.base().span.address(block, page);
        assert!(!instance.platform().0.is_cached(address), "page {page} is free too early");
    }
}

// SAFETY: 1. `CPU` is set where a CPU's thread begins. 2. `broadcast` walks the tables. 3. `wait` does. 4. nothing
// interrupts.
unsafe impl Flusher for Host {
    fn here(&self) -> usize {
        CPU.with(Cell::get)
    }

    fn flush_page(&self, _: usize) {
        unreachable!("the machine broadcasts");
    }

    /// Called before anything is mapped alone.
    fn flush_all(&self) {}

    fn interrupt(&self, _: CpuSet) {
        unreachable!("the machine broadcasts");
    }

    fn wait(&self, _: usize, done: impl Fn() -> bool) {
        while !done() {
            thread::yield_now();
        }
    }

    fn broadcasts(&self) -> bool {
        true
    }

    /// At once each CPU loads again what is still mapped.
    fn broadcast(&self, scope: Scope<'_>) {
        self.0.step();
        let of = |address: usize| match scope {
            Scope::All => true,
            Scope::Pages(ranges) => ranges.iter().any(|range: &Range<usize>| range.contains(&address)),
        };
        let flushed = Machine::watched(|address| of(address) && !self.0.maps(address));
        self.0.tlbs.iter().for_each(|tlb| {
            tlb.fetch_and(!flushed, Ordering::Relaxed);
        });
        self.0.speculate();
    }
}

// SAFETY: 1. `free` has each frame once. 2. `memory` stays. 3. as the default. 4. nobody else writes the tables. 5. see
// `Flusher`. 6. threads do not change their CPUs. 7. the default never says so. 8. `is_ram` says so of none. 9. there
// are no handlers.
unsafe impl Platform for Host {
    type Pin = Pin;

    fn pin(&self) -> Pin {
        self.0.step();
        let cpu = self.here();
        if let Some(pins) = &self.0.pins {
            pins[cpu].fetch_add(1, Ordering::Relaxed);
            atomic::fence(Ordering::SeqCst);
        }
        Pin { cpu, machine: self.clone() }
    }

    fn root(&self) -> Frame {
        Frame::new(0)
    }

    fn total_frames(&self) -> usize {
        if self.0.pins.is_some() { MANY_FRAMES } else { FRAMES }
    }

    fn take_frames(&self, count: usize, mut sink: impl FnMut(Frame)) -> usize {
        let mut free = self.0.free.lock().expect("no panic");
        let taken = free.len() - count.min(free.len());
        free.drain(taken..).map(|number| sink(Frame::new(number))).count()
    }

    fn give_frames(&self, frames: Returned<impl Iterator<Item = Frame>>) {
        let mut free = self.0.free.lock().expect("no panic");
        for frame in frames {
            if self.0.pins.is_some() {
                // Who still reads it finds this.
                let words = self.0.memory[frame.number() as usize].0.get().cast::<AtomicU64>();
                // SAFETY: the frame is as long.
                (0..PAGE_SIZE / 8)
                    .for_each(|word| unsafe { (*words.add(word)).store(GONE, Ordering::Relaxed) });
            }
            free.push(frame.number());
        }
    }

    fn direct_map(&self, frame: Frame) -> NonNull<u8> {
        self.0.step();
        let bytes = self.0.memory[frame.number() as usize].0.get();
        NonNull::new(bytes.cast()).expect("memory is not at zero")
    }

    fn is_ram(&self, _: Frame) -> bool {
        false
    }

    fn physical_bits(&self) -> u32 {
        40
    }

    fn frame_of(&self, direct: NonNull<u8>) -> Frame {
        let offset = direct.as_ptr() as usize - ptr::from_ref(&self.0.memory[0]) as usize;
        Frame::new((offset / PAGE_SIZE) as u64)
    }

    fn shootdown(&self) -> &Shootdown {
        &self.0.shootdown
    }

    fn in_interrupt(&self) -> bool {
        false
    }

    fn pause(&self) -> bool {
        thread::yield_now();
        true
    }

    fn synchronize(&self) -> bool {
        let Some(pins) = &self.0.pins else { return false };
        atomic::fence(Ordering::SeqCst);
        for pins in pins {
            while pins.load(Ordering::Acquire) > 0 {
                thread::yield_now();
            }
        }
        true
    }
}
