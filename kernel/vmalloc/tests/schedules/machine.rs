//! A machine, an instance on it, and CPUs that work at once.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};
use shuttle::thread;
use vmalloc::{
    AllocError, BLOCK_SIZE, PAGE_SIZE, Policy, ReallocError, Request, Reuse, Slack, Vmalloc, Zeroing,
    host::Machine,
};

/// The first address of the instances.
const START: usize = 0xffff_c900_0000_0000;

/// A model's machine and instance.
pub struct Model {
    pub machine: Machine,
    pub blocks: usize,
    pub policy: Policy,
}

/// What one CPU does.
pub type Work<'w> = &'w (dyn Fn(&Cpu<'_>) + Sync);

/// A CPU at work.
#[derive(Clone, Copy)]
pub struct Cpu<'m> {
    pub number: usize,
    pub machine: &'m Machine,
    pub vmalloc: &'m Vmalloc<&'m Machine>,
    values: &'m AtomicU64,
}

/// An area that a CPU has, and what is in each of its pages.
#[must_use]
#[derive(Clone, Copy)]
pub struct Area {
    pub start: usize,
    pub pages: usize,
    value: u64,
}

impl Model {
    pub fn new(cpus: usize, frames: usize) -> Self {
        // Magazines are closed while each call is looked at.
        let policy = Policy::default().zeroing(Zeroing::TrustDirty).slack(Slack::Ignored);
        Self { machine: Machine::new(cpus, frames), blocks: 4, policy }
    }

    /// A model in which what is freed waits for a flush.
    pub fn flushing(cpus: usize, frames: usize) -> Self {
        let model = Self::new(cpus, frames);
        Self { policy: model.policy.reuse(Reuse::AfterFlush), ..model }
    }

    /// Calls `prepare` on one CPU after the other, has each do its work, all at once, and calls `end` on CPU 0. Then nothing
    /// may be left.
    pub fn run(self, prepare: impl Fn(&Cpu<'_>), work: &[Work<'_>], end: impl FnOnce(&Cpu<'_>)) {
        let machine = &self.machine;
        let range = START..START + self.blocks * BLOCK_SIZE;
        // SAFETY: nothing else is mapped there, and simulated CPUs alone use areas.
        let vmalloc = unsafe { Vmalloc::with_policy(machine, range, self.policy) }.expect("frames enough");
        let first = Cpu { number: 0, machine, vmalloc: &vmalloc, values: &AtomicU64::new(1) };
        let cpus = (0..work.len()).map(|number| Cpu { number, ..first });
        cpus.clone().for_each(|cpu| machine.play(cpu.number, || prepare(&cpu)));
        thread::scope(|scope| {
            for (cpu, work) in cpus.zip(work) {
                scope.spawn(move || machine.play(cpu.number, || work(&cpu)));
            }
        });
        machine.play(0, || end(&first));
        vmalloc.trim();
        assert_eq!((vmalloc.lazy_pages(), vmalloc.stats().used()), (0, 0), "something is left");
        machine.check();
        drop(vmalloc);
        machine.assert_all_frames_back();
    }
}

impl Cpu<'_> {
    /// Looks at all areas, as a console does: each that is told is one.
    pub fn look_at_all(&self) {
        self.vmalloc
            .for_each_area(|areas| assert!(areas.areas > 0 && areas.pages >= areas.areas, "{areas:?}"));
        for area in self.vmalloc.areas() {
            assert!(area.pages > 0 && self.vmalloc.contains(area.start), "{area}");
        }
    }

    /// Allocates, and writes a value that no other area has into each page.
    pub fn try_take(&self, pages: usize, how: impl FnOnce(Request) -> Request) -> Result<Area, AllocError> {
        let area = self.allocate(pages, how)?;
        self.fill(area);
        Ok(area)
    }

    /// Allocates as [`try_take`](Self::try_take) does, and looks whether there are zeros before it writes.
    pub fn try_take_zeroed(&self, pages: usize) -> Result<Area, AllocError> {
        let area = self.allocate(pages, Request::zeroed)?;
        for page in area.watched() {
            let mut bytes = [0xff; 8];
            self.machine.read_bytes(area.start + page * PAGE_SIZE, &mut bytes).expect("mapped");
            assert_eq!(bytes, [0; 8], "page {page} of {:#x} has another's bytes", area.start);
        }
        self.fill(area);
        Ok(area)
    }

    fn allocate(&self, pages: usize, how: impl FnOnce(Request) -> Request) -> Result<Area, AllocError> {
        let start = self.vmalloc.allocate(how(Request::new(pages * PAGE_SIZE)))?.addr().get();
        Ok(Area { start, pages, value: self.values.fetch_add(1, Ordering::Relaxed) })
    }

    pub fn take(&self, pages: usize) -> Area {
        self.try_take(pages, |request| request).expect("room")
    }

    /// Resizes an area, and writes into it anew if that succeeded: the area that there is now.
    pub fn resize(&self, area: Area, pages: usize) -> (Area, Result<(), ReallocError>) {
        self.look(area);
        // SAFETY: nobody uses it.
        match unsafe { self.vmalloc.vrealloc(area.address(), pages * PAGE_SIZE) } {
            Ok(start) => {
                let resized = Area { start: start.addr().get(), pages, ..area };
                self.look(Area { pages: pages.min(area.pages).min(4), ..resized });
                self.fill(resized);
                (resized, Ok(()))
            }
            Err(error) => (area, Err(error)),
        }
    }

    /// Has this CPU walk to the first pages of each block, as it may at any time.
    pub fn speculate(&self) {
        for page in (0..2).flat_map(|block| (0..4).map(move |page| block * BLOCK_SIZE + page * PAGE_SIZE)) {
            // What is not mapped is not remembered.
            let _ = self.machine.touch(START + page);
        }
    }

    fn fill(&self, area: Area) {
        for page in area.watched() {
            let bytes = (area.value << 16 | page as u64).to_ne_bytes();
            self.machine.write_bytes(area.start + page * PAGE_SIZE, &bytes).expect("mapped");
        }
    }

    /// Looks whether an area has what was written there.
    pub fn look(&self, area: Area) {
        for page in area.watched() {
            let mut bytes = [0; 8];
            self.machine.read_bytes(area.start + page * PAGE_SIZE, &mut bytes).expect("mapped");
            let found = u64::from_ne_bytes(bytes);
            assert_eq!(
                found,
                area.value << 16 | page as u64,
                "page {page} of {:#x} is another's",
                area.start
            );
        }
    }

    /// Looks at an area, and frees it.
    pub fn free(&self, area: Area) {
        self.look(area);
        // SAFETY: nobody uses it.
        unsafe { self.vmalloc.vfree(area.address()) }.expect("allocated");
    }
}

impl Area {
    /// Pages that are written and read: all, or some of many.
    fn watched(self) -> impl Iterator<Item = usize> {
        (0..self.pages).filter(move |&page| page < 4 || page + 1 == self.pages)
    }

    pub fn address(self) -> NonNull<u8> {
        NonNull::new(core::ptr::without_provenance_mut(self.start)).expect("no area is at zero")
    }
}
