//! Areas that are freed after a grace period, when no reader can still be looking at them: Linux's
//! `kvfree_rcu`.
//!
//! | call | the caller | what waits is noted in |
//! |---|---|---|
//! | [`vfree_rcu`] | anywhere, never waits | a [`Head`] in the object |
//! | [`vfree_rcu_mightsleep`] | a thread that may wait | a page of pointers |
//!
//! Each CPU has its own, and a thread that frees it. The thread goes before those that defer, on the same
//! CPU: who defers faster than it is freed pays for that alone. So a list is used on one CPU only, never while
//! the thread is in between, and needs no lock; what interrupts push comes and goes whole.
//!
//! The thread takes a batch when it is full, or when some ticks have passed since the last one, and starts a grace
//! period for it. When that is over, mostly when the next one is full, it frees the batch and takes the next; nobody is
//! interrupted for it, unless somebody waits or much does.

use crate::{
    arch::{
        cpu::{self, MAX_CPUS, Pin},
        paging::direct_map,
    },
    memory::{Machine, frames, vmalloc},
    threads::{self, Builder, Class, SpawnError, WaitQueue, grace::GracePeriod},
};
use alloc::format;
use core::{
    iter,
    mem::{MaybeUninit, replace},
    panic::Location,
    ptr::{NonNull, null_mut},
    sync::atomic::{AtomicPtr, AtomicUsize, Ordering},
};
use handover::{Asked, Backlog};
use vmalloc::{AllocError, Frame, PAGE_SIZE, PurgeNotifier, Vmalloc};

/// Heads that make a batch full.
const BATCH: usize = 256;
/// Areas that wait on a CPU before others are interrupted to end a grace period.
const PATIENCE: usize = 16 * BATCH;
/// Ticks after which a batch is taken that is not full: what `KFREE_DRAIN_JIFFIES` is in Linux.
const DELAY: usize = 10;
/// Areas freed before others of the thread's class get their turn.
const PIECE: usize = 64;

/// Notes an area that is to be freed; to be embedded in what is freed, or anywhere else where it stays
/// until then.
#[derive(Debug)]
pub struct Head {
    next: *mut Head,
    area: NonNull<u8>,
    caller: &'static Location<'static>,
}

/// A page of pointers, and those that were full before it.
#[repr(C)]
struct Page {
    next: *mut Page,
    length: usize,
    entries: [MaybeUninit<Entry>; ENTRIES],
}

/// An area, and who had it freed.
#[derive(Clone, Copy)]
struct Entry {
    area: NonNull<u8>,
    caller: &'static Location<'static>,
}

const ENTRIES: usize = (PAGE_SIZE - 2 * size_of::<usize>()) / size_of::<Entry>();
const _: () = assert!(size_of::<Page>() <= PAGE_SIZE);

/// What waits on one CPU. The lists are used by that CPU only.
#[repr(align(128))]
struct Waiting {
    heads: AtomicPtr<Head>,
    pages: AtomicPtr<Page>,
    /// Counts of areas, and what the CPU's thread is asked.
    areas: Backlog<WaitQueue>,
    /// Pages of pointers.
    frames: AtomicUsize,
    /// Ticks of the CPU at which something waited, since it last took a batch.
    ticks: AtomicUsize,
}

static WAITING: [Waiting; MAX_CPUS] = [const {
    Waiting {
        heads: AtomicPtr::new(null_mut()),
        pages: AtomicPtr::new(null_mut()),
        areas: Backlog::new(WaitQueue::new()),
        frames: AtomicUsize::new(0),
        ticks: AtomicUsize::new(0),
    }
}; MAX_CPUS];

/// Those who wait until something was freed.
static FREED: WaitQueue = WaitQueue::new();

/// Frees the area that starts at `area`, by `vfree`, after a grace period: when every reader, any section
/// with preemption off, that had begun before the call is done. From anywhere, even from interrupts and with
/// preemption off. Never waits, never fails. That no area of its own memory starts there ends the machine when
/// it is freed.
///
/// # Safety
/// Who is no such reader uses the area no more, and nobody else frees it. `head` is nobody's from now on; it
/// stays where it is until the area is freed.
#[inline]
#[track_caller]
pub unsafe fn vfree_rcu(area: NonNull<u8>, head: NonNull<Head>) {
    let caller = Location::caller();
    let pin = Pin::new();
    let waiting = &WAITING[pin.cpu()];
    // Nobody follows the list before the pin goes: the link may be written afterwards.
    let next = waiting.heads.swap(head.as_ptr(), Ordering::Relaxed);
    // SAFETY: the head is ours, says the caller.
    unsafe { head.write(Head { next, area, caller }) };
    if waiting.areas.add().is_multiple_of(BATCH) {
        waiting.areas.ask(Asked::Next);
    }
}

/// Frees the area that starts at `area`, by `vfree`, after a grace period, as [`vfree_rcu`] does but without a head.
/// Called in a thread that may wait, in no interrupt handler and with nothing pinned: it waits where there is no memory
/// to note the area in, or too many areas wait already. Debug builds refuse other callers always, release builds where
/// it would wait.
///
/// # Safety
/// Who is no such reader uses the area no more, and nobody else frees it. The caller is no interrupt handler.
#[inline]
#[track_caller]
pub unsafe fn vfree_rcu_mightsleep(area: NonNull<u8>) {
    if cfg!(debug_assertions) {
        threads::assert_may_block("vfree_rcu_mightsleep");
    }
    let entry = Entry { area, caller: Location::caller() };
    if !note(entry) {
        note_in_new_page(entry);
    }
}

/// Notes an area in this CPU's page; `false`: there is none, or it is full.
#[inline]
fn note(entry: Entry) -> bool {
    let pin = Pin::new();
    let waiting = &WAITING[pin.cpu()];
    let Some(mut page) = NonNull::new(waiting.pages.load(Ordering::Relaxed)) else { return false };
    // SAFETY: pages in the list are this CPU's. No interrupt uses them, and no other thread while this one
    // is pinned.
    let page = unsafe { page.as_mut() };
    let Some(slot) = page.entries.get_mut(page.length) else { return false };
    slot.write(entry);
    page.length += 1;
    waiting.areas.add();
    if page.length == ENTRIES {
        waiting.areas.ask(Asked::Next);
    }
    true
}

/// Notes an area in a new page of this CPU's, which happens once for each page; without one frees it, after a grace
/// period of its own.
#[cold]
#[track_caller]
fn note_in_new_page(entry: Entry) {
    threads::assert_may_block("vfree_rcu_mightsleep");
    let waiting = &WAITING[Pin::new().cpu()];
    if waiting.areas.waiting() > vmalloc().lazy_max() {
        waiting.areas.ask(Asked::All);
        FREED.wait_until(|| waiting.areas.waiting() <= vmalloc().lazy_max());
    }
    let mut frame = None;
    frames::take(1, |taken| frame = Some(taken));
    if let Some(frame) = frame {
        // So that nobody fills it meanwhile, and nothing stays without an area in it.
        let _pin = Pin::new();
        add_page(frame);
        assert!(note(entry), "a new page has room");
        return;
    }
    threads::grace::synchronize();
    free(vmalloc(), entry.area, entry.caller);
}

/// Gives this CPU a page to note areas in.
fn add_page(frame: Frame) {
    let page = direct_map::pointer(frame).cast::<Page>();
    let pin = Pin::new();
    let waiting = &WAITING[pin.cpu()];
    let next = waiting.pages.load(Ordering::Relaxed);
    // SAFETY: the frame was taken for this, and has room. The entries may be anything.
    unsafe {
        (&raw mut (*page.as_ptr()).next).write(next);
        (&raw mut (*page.as_ptr()).length).write(0);
    }
    waiting.pages.store(page.as_ptr(), Ordering::Relaxed);
    waiting.frames.fetch_add(1, Ordering::Relaxed);
}

impl Waiting {
    /// What the CPU's thread does.
    fn run(&self) {
        let mut period = GracePeriod::new();
        let mut older = Batch::NONE;
        loop {
            let asked = self.areas.next();
            if asked == Asked::Next && self.areas.waiting() < PATIENCE && !period.is_over() {
                continue;
            }
            let newer = Batch {
                heads: self.heads.swap(null_mut(), Ordering::Relaxed),
                pages: self.pages.swap(null_mut(), Ordering::Relaxed),
            };
            self.ticks.store(0, Ordering::Relaxed);
            period.wait();
            period.start();
            older.free(self);
            older = newer;
            if asked == Asked::All {
                period.wait();
                replace(&mut older, Batch::NONE).free(self);
            }
        }
    }
}

/// Areas that wait for one grace period.
struct Batch {
    heads: *mut Head,
    pages: *mut Page,
}

impl Batch {
    const NONE: Self = Self { heads: null_mut(), pages: null_mut() };

    /// Frees them, and the pages they are noted in.
    fn free(self, waiting: &Waiting) {
        let (vmalloc, mut count) = (vmalloc(), 0);
        let mut free = |area, caller| {
            free(vmalloc, area, caller);
            count += 1;
            if count % PIECE == 0 {
                threads::yield_now();
            }
        };
        let mut next = self.heads;
        while let Some(head) = NonNull::new(next) {
            // SAFETY: promised to `vfree_rcu`. It is read before its area is freed.
            let head = unsafe { head.read() };
            free(head.area, head.caller);
            next = head.next;
        }
        let mut next = self.pages;
        while let Some(page) = NonNull::new(next) {
            // SAFETY: the page was taken out of the list; it is this thread's.
            let Page { next: following, length, entries } = unsafe { page.as_ref() };
            for entry in &entries[..*length] {
                // SAFETY: so many were written.
                let Entry { area, caller } = unsafe { entry.assume_init_read() };
                free(area, caller);
            }
            next = *following;
            waiting.frames.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: `note_in_new_page` took it, and it is in no list any more.
            unsafe { frames::give(iter::once(direct_map::frame(page.cast()))) };
        }
        waiting.areas.done_with(count);
        FREED.wake_all();
    }
}

/// Frees an area after its grace period.
#[inline]
fn free(vmalloc: &Vmalloc<Machine>, area: NonNull<u8>, caller: &'static Location<'static>) {
    // SAFETY: promised by who deferred it: only readers used it, and they are done.
    if let Err(error) = unsafe { vmalloc.vfree(area) } {
        panic!("{caller} deferred the free of what is no area: {error}");
    }
}

/// Waits until everything is freed that was deferred before the call.
///
/// # Panics
/// The caller may not wait: see [`threads::assert_may_block`].
#[track_caller]
pub fn vfree_rcu_barrier() {
    threads::assert_may_block("vfree_rcu_barrier");
    let mut until = [0; MAX_CPUS];
    for cpu in cpu::online().iter() {
        let areas = &WAITING[cpu].areas;
        until[cpu] = areas.added();
        if areas.lacks(until[cpu]) {
            areas.ask(Asked::All);
        }
    }
    FREED.wait_until(|| cpu::online().iter().all(|cpu| !WAITING[cpu].areas.lacks(until[cpu])));
}

/// Areas that wait for a grace period, and the frames of the pages they are noted in.
pub fn waiting() -> (usize, usize) {
    cpu::online().iter().map(|cpu| &WAITING[cpu]).fold((0, 0), |(areas, pages), waiting| {
        (areas + waiting.areas.waiting(), pages + waiting.frames.load(Ordering::Relaxed))
    })
}

/// Called at each tick of a CPU: what waits there for long is seen to.
pub(crate) fn on_tick(cpu: usize) {
    let waiting = &WAITING[cpu];
    if waiting.areas.waiting() > 0
        && (waiting.ticks.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(DELAY)
    {
        waiting.areas.ask(Asked::Next);
    }
}

/// An allocation that fails waits for what is deferred.
struct Deferred;

impl PurgeNotifier for Deferred {
    fn purge(&self, _: AllocError) -> bool {
        let some = waiting().0 > 0 && threads::may_block();
        if some {
            vfree_rcu_barrier();
        }
        some
    }
}

/// Makes the threads that free. Called once, when threads can be.
///
/// # Errors
/// No memory for them.
pub(super) fn init() -> Result<(), SpawnError> {
    for cpu in cpu::online().iter() {
        let name = format!("rcu {cpu}");
        let thread = Builder::new(&name).class(Class::RealTime).on_cpu(cpu);
        // It never ends.
        core::mem::forget(thread.spawn(move || WAITING[cpu].run())?);
    }
    assert!(vmalloc().register_notifier(&Deferred), "the kernel's instance has room for its notifier");
    Ok(())
}
