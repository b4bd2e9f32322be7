//! A machine of some CPUs, each a thread of the model, and one page.

extern crate std;

use crate::{
    CpuSet, Flusher, Forbid, MAX_CPUS, Scope, Shootdown, TlbState,
    atomic::{AtomicBool, Ordering},
};
use loom::{
    sync::{Mutex, MutexGuard},
    thread,
};
use std::{sync::Arc, vec::Vec};

/// Address of the page.
pub(crate) const PAGE: usize = 0xffff_c900_0000_0000;

/// What the CPUs share.
pub(crate) struct Machine {
    pub shootdown: Shootdown,
    /// Whether the page tables map the page.
    mapped: AtomicBool,
    /// What the page's frame, or the page table that a CPU finds it by, was given to somebody else for.
    reused: AtomicBool,
    /// Whether what is reused is a page table: then a CPU that has a way through it must not even speculate.
    is_table: bool,
    /// Whether each CPU has the translation in its TLB, or the way in its paging-structure caches. Only its own
    /// thread, or who takes an interrupt for it after its thread ended, uses it.
    cached: [AtomicBool; MAX_CPUS],
    /// Interrupts not yet taken.
    interrupts: [AtomicBool; MAX_CPUS],
    /// CPUs that run no program: what is on its way into their interrupt handler uses no page, but speculates.
    asleep: [AtomicBool; MAX_CPUS],
    /// CPUs whose threads ended: they do nothing but take interrupts.
    ended: [AtomicBool; MAX_CPUS],
    /// On a machine that broadcasts, held while the CPU uses the page: a broadcast is over when what was
    /// under way is.
    uses: Option<[Mutex<()>; MAX_CPUS]>,
}

/// One CPU of a machine.
#[derive(Clone)]
pub(crate) struct Cpu {
    pub machine: Arc<Machine>,
    pub number: usize,
    /// Whether it waits for others as it should.
    patient: bool,
}

impl Machine {
    /// `cpus` CPUs online, the page mapped, and nothing cached.
    pub fn new(cpus: usize, isolated: CpuSet) -> Arc<Self> {
        Self::with(cpus, isolated, None, false)
    }

    /// A machine as [`new`](Self::new) makes it, that broadcasts.
    pub fn broadcasting(cpus: usize, isolated: CpuSet) -> Arc<Self> {
        Self::with(cpus, isolated, Some(core::array::from_fn(|_| Mutex::new(()))), false)
    }

    /// A machine as [`new`](Self::new) makes it, on which a page table is what is unlinked and given away.
    pub fn of_table(cpus: usize, isolated: CpuSet) -> Arc<Self> {
        Self::with(cpus, isolated, None, true)
    }

    fn with(cpus: usize, isolated: CpuSet, uses: Option<[Mutex<()>; MAX_CPUS]>, is_table: bool) -> Arc<Self> {
        let flags = || core::array::from_fn(|_| AtomicBool::new(false));
        let machine = Arc::new(Self {
            shootdown: Shootdown::new((1..MAX_CPUS).map(|_| TlbState::default()).collect::<Vec<_>>().leak()),
            mapped: AtomicBool::new(true),
            reused: AtomicBool::new(false),
            is_table,
            cached: flags(),
            interrupts: flags(),
            asleep: flags(),
            ended: flags(),
            uses,
        });
        for number in 0..cpus {
            // SAFETY: nothing was used or unmapped yet.
            unsafe { machine.shootdown.set_online(&machine.cpu(number), isolated.contains(number)) };
        }
        machine
    }

    /// The CPU of this number.
    pub fn cpu(self: &Arc<Self>, number: usize) -> Cpu {
        Cpu { machine: Arc::clone(self), number, patient: true }
    }

    /// Where the machine broadcasts, waits until the CPU does not use the page.
    fn wait_for_use(&self, number: usize) -> Option<MutexGuard<'_, ()>> {
        self.uses.as_ref().map(|uses| uses[number].lock().expect("no panic"))
    }

    /// Unmaps the page.
    pub fn unmap(&self) {
        self.mapped.store(false, Ordering::Release);
    }

    /// Gives the page's frame to somebody else.
    pub fn reuse(&self) {
        self.reused.store(true, Ordering::Release);
    }
}

impl Cpu {
    /// This CPU, made to wait for nobody.
    pub fn impatient(self) -> Self {
        Self { patient: false, ..self }
    }

    /// The CPU reads the page, if it can, by its TLB or by a walk. It must never see another owner's
    /// frame. What comes between two uses may be an interrupt, but nothing comes into one.
    pub fn use_page(&self) {
        let _use = self.machine.wait_for_use(self.number);
        let cached = &self.machine.cached[self.number];
        if !cached.load(Ordering::Relaxed) {
            if !self.machine.mapped.load(Ordering::Relaxed) {
                return;
            }
            cached.store(true, Ordering::Relaxed);
        }
        assert!(!self.machine.reused.load(Ordering::Relaxed), "CPU {} reads another's frame", self.number);
    }

    /// The CPU speculates: it loads the translation if there is one, and walks by the ways that it has.
    pub fn speculate(&self) {
        let _use = self.machine.wait_for_use(self.number);
        let cached = &self.machine.cached[self.number];
        if cached.load(Ordering::Relaxed) {
            let reused = self.machine.is_table && self.machine.reused.load(Ordering::Relaxed);
            assert!(!reused, "CPU {} walks through another's data", self.number);
        } else if self.machine.mapped.load(Ordering::Relaxed) {
            cached.store(true, Ordering::Relaxed);
        }
    }

    /// The CPU starts, on page tables that map the page, and is not online yet: no program runs there.
    pub fn start(&self) {
        self.machine.asleep[self.number].store(true, Ordering::Relaxed);
        self.speculate();
    }

    /// The CPU, which has [started](Self::start), is online: programs may run.
    pub fn come_online(&self, isolated: bool) {
        // SAFETY: no program runs here yet; models of tables do not come here.
        unsafe { self.machine.shootdown.set_online(self, isolated) };
        self.machine.asleep[self.number].store(false, Ordering::Relaxed);
    }

    /// The CPU goes offline: it uses and answers nothing until it comes online again.
    pub fn go_offline(&self) {
        // SAFETY: a model, in which it keeps to that.
        unsafe { self.machine.shootdown.set_offline(self) };
        self.machine.asleep[self.number].store(true, Ordering::Relaxed);
    }

    /// Takes the interrupt that waits, if there is one.
    pub fn take_interrupt(&self) {
        if self.machine.interrupts[self.number].swap(false, Ordering::AcqRel) {
            self.leave_idle();
            self.machine.shootdown.answer(self);
        }
    }

    /// A program reads the page, if it is mapped, by the direct map.
    pub fn walk(&self) {
        if self.machine.mapped.load(Ordering::Acquire) {
            assert!(!self.machine.reused.load(Ordering::Relaxed), "CPU {} looks at another's", self.number);
        }
    }

    /// Whether an interrupt waits.
    pub fn is_interrupted(&self) -> bool {
        self.machine.interrupts[self.number].load(Ordering::Relaxed)
    }

    /// The CPU has nothing to run.
    pub fn enter_idle(&self) {
        // SAFETY: a model; what the CPU reaches meanwhile is what it looks for.
        unsafe { self.machine.shootdown.enter_idle(self) };
        self.machine.asleep[self.number].store(true, Ordering::Relaxed);
    }

    /// The CPU wakes. What comes first of its interrupt handler speculates on anything.
    pub fn leave_idle(&self) {
        self.speculate();
        self.machine.shootdown.leave_idle(self);
        self.machine.asleep[self.number].store(false, Ordering::Relaxed);
    }

    /// Up to the moment of a flush the CPU may use the page, and at once afterwards it may speculate on
    /// it, and have the translation again.
    fn flush(&self) {
        if self.machine.asleep[self.number].load(Ordering::Relaxed) {
            self.speculate();
        } else {
            self.use_page();
        }
        // What a broadcast that is over has unmapped is seen to be unmapped.
        let _use = self.machine.wait_for_use(self.number);
        let mapped = self.machine.mapped.load(Ordering::Relaxed);
        self.machine.cached[self.number].store(mapped, Ordering::Relaxed);
    }

    /// What CPUs must not do with what is given away.
    pub fn forbid(&self) -> Forbid {
        if self.machine.is_table { Forbid::Speculation } else { Forbid::Use }
    }

    /// The last of the CPU's thread.
    pub fn end(&self) {
        self.machine.ended[self.number].store(true, Ordering::Release);
    }

    /// Whether the CPU's TLB has the page.
    pub fn has_cached(&self) -> bool {
        self.machine.cached[self.number].load(Ordering::Relaxed)
    }
}

// SAFETY: a model of a CPU: nothing is given to others on the strength of it.
unsafe impl Flusher for Cpu {
    fn here(&self) -> usize {
        self.number
    }

    fn flush_page(&self, address: usize) {
        if address == PAGE {
            self.flush();
        }
    }

    fn flush_all(&self) {
        self.flush();
    }

    fn interrupt(&self, cpus: CpuSet) {
        for number in cpus.iter() {
            // Not a store: loom would let it come before a swap that did not see it.
            self.machine.interrupts[number].swap(true, Ordering::AcqRel);
        }
    }

    fn wait(&self, number: usize, done: impl Fn() -> bool) {
        while self.patient && !done() {
            self.take_interrupt();
            let is_online = self.machine.shootdown.online().contains(number);
            if is_online && self.machine.ended[number].load(Ordering::Acquire) {
                self.machine.cpu(number).take_interrupt();
            }
            thread::yield_now();
        }
    }

    fn uninterrupted(&self, serve: impl FnOnce()) {
        serve();
    }

    fn broadcasts(&self) -> bool {
        self.machine.uses.is_some()
    }

    /// As after each flush, a CPU may have the translation again at once if the page is still mapped.
    fn broadcast(&self, scope: Scope<'_>) {
        let hit = match scope {
            Scope::Pages(ranges) => ranges.iter().any(|range| range.contains(&PAGE)),
            Scope::All => true,
        };
        for number in self.machine.shootdown.online().iter().filter(|_| hit) {
            let _use = self.machine.wait_for_use(number);
            let mapped = self.machine.mapped.load(Ordering::Relaxed);
            self.machine.cached[number].store(mapped, Ordering::Relaxed);
        }
    }
}

/// Runs a model within `preemptions` preemptions.
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}
