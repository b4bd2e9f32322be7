//! Grace periods: waiting until nobody can still be looking at what was taken out of reach.
//!
//! A *reader* is any section with preemption off: it needs no lock and no count. Code that is not in one
//! is in no old one either; so when every CPU has passed a moment at which nothing was pinned to it, all
//! readers that had begun before are done.

use super::{
    SpawnError, assert_may_block,
    scheduler::schedule,
    spawn::Builder,
    waiting::{sleep::sleep, wait::WaitQueue},
};
use crate::arch::{
    apic,
    cpu::{self, Pin},
    cpu_set::CpuSet,
    interrupts::Vector,
};
use alloc::alloc::{Layout, alloc, dealloc};
use core::{
    mem::offset_of,
    ptr::{NonNull, null_mut},
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering, fence},
};
use vmalloc::{CpuPin, MAX_CPUS};

/// How often a CPU had nothing pinned. Written by that CPU only.
#[repr(align(64))]
struct Passed(AtomicU64);

static PASSED: [Passed; MAX_CPUS] = [const { Passed(AtomicU64::new(0)) }; MAX_CPUS];

/// Notes that nothing is pinned to this CPU, and interrupts do not count. Called on it with interrupts
/// off.
pub(super) fn pass(cpu: usize) {
    let count = &PASSED[cpu].0;
    // Release: all that the readers before did comes first. The fence: the readers behind see what was
    // done before the `synchronize` that this count lets go.
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Release);
    fence(Ordering::SeqCst);
}

/// Microseconds between looks at CPUs that do not pass at once.
const PATIENCE: u64 = 1000;
/// Looks before that is waited for.
const LOOKS: usize = 100;

/// Waits for a grace period: until every reader that had begun before the call is done, on all CPUs.
/// What was done before the call is seen by all readers that begin after it returns.
///
/// # Panics
/// The caller may not wait, being a reader itself perhaps: see [`assert_may_block`].
#[track_caller]
pub fn synchronize() {
    let mut period = GracePeriod::new();
    period.start();
    period.wait();
}

/// A grace period that is waited for later: what is done meanwhile is often longer than it takes.
#[derive(Debug)]
pub struct GracePeriod {
    others: CpuSet,
    /// What [`PASSED`] was when it started, of the others.
    before: [u64; MAX_CPUS],
}

impl GracePeriod {
    /// One that is over.
    #[must_use]
    pub const fn new() -> Self {
        Self { others: CpuSet::EMPTY, before: [0; MAX_CPUS] }
    }

    /// Starts it anew: [`wait`](Self::wait) waits for the readers that have begun by now.
    ///
    /// # Panics
    /// The caller may not wait, being a reader itself perhaps: see [`assert_may_block`].
    #[track_caller]
    pub fn start(&mut self) {
        assert_may_block("GracePeriod::start");
        // Together with that of `pass`: a reader that is not waited for sees what was done before.
        fence(Ordering::SeqCst);
        // There is no reader on this CPU while this thread runs there.
        self.others = cpu::online().without(CpuSet::from_bits(1 << Pin::new().cpu()));
        for cpu in self.others.iter() {
            self.before[cpu] = PASSED[cpu].0.load(Ordering::Relaxed);
        }
    }

    /// Whether it is over. It will be without anybody's doing: each CPU passes at its next tick or switch, if
    /// nothing is pinned then.
    pub fn is_over(&self) -> bool {
        let over = self.late().next().is_none();
        fence(Ordering::SeqCst);
        over
    }

    /// Waits until it is over, and interrupts those for whom it is not.
    ///
    /// # Panics
    /// The caller may not wait: see [`assert_may_block`].
    #[track_caller]
    pub fn wait(&self) {
        assert_may_block("GracePeriod::wait");
        self.late().for_each(|cpu| apic::send(cpu, Vector::Reschedule));
        let mut looks = 0;
        for cpu in self.late() {
            while self.is_late(cpu) {
                match looks {
                    LOOKS => sleep(PATIENCE),
                    _ => {
                        looks += 1;
                        schedule::yield_now();
                    }
                }
            }
        }
        fence(Ordering::SeqCst);
    }

    fn is_late(&self, cpu: usize) -> bool {
        PASSED[cpu].0.load(Ordering::Acquire) == self.before[cpu]
    }

    /// The CPUs that have not passed since it started.
    fn late(&self) -> impl Iterator<Item = usize> {
        self.others.iter().filter(|&cpu| self.is_late(cpu))
    }
}

impl Default for GracePeriod {
    fn default() -> Self {
        Self::new()
    }
}

/// What is to be called after a grace period; to be embedded in what is freed then.
#[derive(Debug)]
pub struct Head {
    next: *mut Head,
    call: Option<unsafe fn(NonNull<Head>)>,
}

impl Head {
    /// Nothing is to be called.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: null_mut(), call: None }
    }
}

impl Default for Head {
    fn default() -> Self {
        Self::new()
    }
}

/// What waits for the next grace period, last first.
static DEFERRED: AtomicPtr<Head> = AtomicPtr::new(null_mut());
static WORK: WaitQueue = WaitQueue::new();

/// Has `call` called with `head`, in a kernel thread, after a grace period; in the order in which they
/// were deferred. From anywhere, even from interrupts and under locks. Never fails, never waits.
///
/// # Safety
/// `head` is the caller's, and nobody's but `call`'s from now on; it stays where it is until then.
/// `call` may be called with it, in another thread.
pub unsafe fn defer(head: NonNull<Head>, call: unsafe fn(NonNull<Head>)) {
    let mut next = DEFERRED.load(Ordering::Relaxed);
    loop {
        // SAFETY: the caller gave it away, and nobody else knows it yet.
        unsafe { head.write(Head { next, call: Some(call) }) };
        // Release: the thread sees the head, and all done before.
        match DEFERRED.compare_exchange_weak(next, head.as_ptr(), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => break,
            Err(newer) => next = newer,
        }
    }
    // Who made the list begin wakes the thread, which takes all of it.
    if next.is_null() {
        WORK.wake_all();
    }
}

/// A closure with its head.
#[repr(C)]
struct Boxed<F> {
    head: Head,
    call: F,
}

/// Calls `call` after a grace period, as [`defer`] does, with memory of its own from the heap. Without
/// memory it waits for the grace period itself, and calls it at once.
///
/// # Panics
/// In an interrupt handler; without memory also if the caller may not wait: see [`assert_may_block`].
#[track_caller]
pub fn defer_closure<F: FnOnce() + Send + 'static>(call: F) {
    let layout = Layout::new::<Boxed<F>>();
    // SAFETY: the layout has a size: that of the head at least.
    let memory = NonNull::new(unsafe { alloc(layout) }.cast::<Boxed<F>>());
    let Some(memory) = memory else {
        synchronize();
        return call();
    };
    unsafe fn run<F: FnOnce()>(head: NonNull<Head>) {
        let memory = head.cast::<Boxed<F>>();
        // SAFETY: it was written below, and is moved out once, before its memory goes.
        let boxed = unsafe { memory.read() };
        // SAFETY: allocated below with this layout.
        unsafe { dealloc(memory.cast().as_ptr(), Layout::new::<Boxed<F>>()) };
        (boxed.call)();
    }
    const { assert!(offset_of!(Boxed<F>, head) == 0) };
    // SAFETY: the memory is ours, for a value of this type; the head, at its start, goes to `run`.
    unsafe {
        memory.write(Boxed { head: Head::new(), call });
        defer(memory.cast(), run::<F>);
    }
}

/// Waits until everything is done that was deferred before the call.
///
/// # Panics
/// The caller may not wait: see [`assert_may_block`].
#[track_caller]
pub fn barrier() {
    assert_may_block("grace::barrier");
    #[repr(C)]
    struct Mark {
        head: Head,
        done: AtomicBool,
    }
    static DONE: WaitQueue = WaitQueue::new();
    unsafe fn done(head: NonNull<Head>) {
        // SAFETY: `barrier` keeps its mark until this is set, and no longer.
        unsafe { (*head.cast::<Mark>().as_ptr()).done.store(true, Ordering::Release) };
        DONE.wake_all();
    }
    let mut mark = Mark { head: Head::new(), done: AtomicBool::new(false) };
    let mark = NonNull::from_mut(&mut mark);
    // SAFETY: this stays until `done` was called; it is not used again after it set the flag.
    unsafe { defer(mark.cast(), done) };
    // SAFETY: as above; only the flag is looked at.
    DONE.wait_until(|| unsafe { (*mark.as_ptr()).done.load(Ordering::Acquire) });
}

/// Makes the thread that calls what was deferred.
///
/// # Errors
/// No memory for it.
pub(super) fn init() -> Result<(), SpawnError> {
    Builder::new("grace").spawn(run).map(drop)
}

fn run() {
    loop {
        WORK.wait_until(|| !DEFERRED.load(Ordering::Relaxed).is_null());
        // Acquire: the heads are seen, and what was done before they were deferred.
        let mut last = DEFERRED.swap(null_mut(), Ordering::Acquire);
        let mut first = null_mut::<Head>();
        while let Some(head) = NonNull::new(last) {
            // SAFETY: what is in the list is its alone until it is called.
            last = unsafe { core::mem::replace(&mut (*head.as_ptr()).next, first) };
            first = head.as_ptr();
        }
        synchronize();
        while let Some(head) = NonNull::new(first) {
            // SAFETY: as above; it is read before the call, and never again.
            let Head { next, call } = unsafe { head.read() };
            first = next;
            if let Some(call) = call {
                // SAFETY: promised to `defer`; a grace period has passed.
                unsafe { call(head) };
            }
        }
    }
}
