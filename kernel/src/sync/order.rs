//! The order that locks are taken in, checked in debug builds by the crate [`lockdep`].
//!
//! Each pair of lock classes that can deadlock is reported once, in one line by the hook [`REPORT`], and
//! counted. In release builds nothing is checked.

use super::{Class, stat};
use crate::arch::{cpu, cpu::MAX_CPUS, hook::Hooks};
use core::{
    cell::UnsafeCell,
    fmt,
    panic::Location,
    sync::atomic::{AtomicUsize, Ordering},
};
use lockdep::{Context, Graph, Held, Report};
use x86_64::instructions::interrupts;

/// Whether orders are checked in this build.
pub const CHECKED: bool = cfg!(debug_assertions);

static GRAPH: Graph = Graph::new();
static REPORTS: AtomicUsize = AtomicUsize::new(0);

/// A place that reports are written to.
#[derive(Debug)]
pub struct Reporter {
    /// The lock that `write` takes, which must be the last of all: what is found wrong while it is held is only counted.
    pub lock: Option<&'static Class>,
    /// Writes one line.
    pub write: fn(fmt::Arguments<'_>),
}

/// Where reports are written. Until another place is installed they are only counted.
pub static REPORT: Hooks<Reporter> = Hooks::new("sync", &Reporter { lock: None, write: |_| {} });

/// The locks that a CPU holds, what an interrupt handler takes apart from what the code that it interrupted holds: they
/// are in no order with each other.
struct Local {
    thread: Held,
    interrupt: Held,
}

impl Local {
    /// The locks of the context that runs.
    fn held(&mut self) -> &mut Held {
        if cpu::in_interrupt() { &mut self.interrupt } else { &mut self.thread }
    }
}

#[repr(align(64))]
struct PerCpu(UnsafeCell<Local>);

// SAFETY: each is used by its own CPU only, with interrupts off: see `local`.
unsafe impl Sync for PerCpu {}

static LOCAL: [PerCpu; MAX_CPUS] =
    [const { PerCpu(UnsafeCell::new(Local { thread: Held::new(), interrupt: Held::new() })) }; MAX_CPUS];

/// Uses what this CPU notes of itself. `change` takes no lock, and so does not come back here.
fn local<R>(change: impl FnOnce(&mut Local) -> R) -> R {
    interrupts::without_interrupts(|| {
        // SAFETY: the CPU's own, and nothing else runs on it before this ends.
        change(unsafe { &mut *LOCAL[cpu::current()].0.get() })
    })
}

/// To be called where a lock of `class` is taken at `place`, before waiting for it, with preemption
/// off; it must stay off until [`released`].
#[inline]
pub(crate) fn acquired(class: &'static Class, place: &'static Location<'static>) {
    if CHECKED {
        check(&class.order, place);
    }
    if stat::FOLLOWED {
        stat::acquiring(class);
    }
}

/// To be called when a lock of `class` was opened, with preemption still off.
#[inline]
pub(crate) fn released(class: &'static Class) {
    if stat::FOLLOWED {
        stat::released(class);
    }
    if CHECKED {
        local(|local| local.held().release(&class.order));
    }
}

fn check(class: &'static lockdep::Class, place: &'static Location<'static>) {
    /// Reports of one lock that are printed; all are counted.
    const MOST: usize = 2;
    let context = match (cpu::in_interrupt(), interrupts::are_enabled()) {
        (false, true) => Context::InterruptsOn,
        (false, false) => Context::InterruptsOff,
        (true, _) => Context::Interrupt,
    };
    let mut reports = [None::<Report>; MOST];
    let mut count = 0;
    let can_write = local(|local| {
        let holds = |lock: &lockdep::Class| local.thread.holds(lock) || local.interrupt.holds(lock);
        let can_write = !REPORT.get().lock.is_some_and(|lock| holds(&lock.order));
        GRAPH.take(local.held(), class, place, context, |report| {
            if let Some(room) = reports.get_mut(count) {
                *room = Some(report);
            }
            count += 1;
        });
        can_write
    });
    if count > 0 {
        REPORTS.fetch_add(count, Ordering::Relaxed);
        if can_write {
            let write = REPORT.get().write;
            reports.iter().flatten().for_each(|report| write(format_args!("{report}\n")));
        }
    }
}

/// Pairs of lock classes reported and not yet taken by [`take_reports`].
pub fn reports() -> usize {
    REPORTS.load(Ordering::Relaxed)
}

/// For tests that provoke reports: how many there were, and counts from 0 again.
pub fn take_reports() -> usize {
    REPORTS.swap(0, Ordering::Relaxed)
}

/// How many locks are held on this CPU, outside of the interrupts it may be in; 0 in release builds.
pub fn held() -> usize {
    if CHECKED { local(|local| local.thread.count()) } else { 0 }
}

/// Panics if a lock is held, but for those of [allocating](Class::allocating) classes, in the context that runs. `what` says in
/// the report what it is about to do, such as to allocate memory. Release builds do not look.
pub fn expect_none_held(what: &str) {
    if CHECKED && let Some((class, place)) = local(|local| local.held().forbids_allocation()) {
        panic!("{what} while the lock of class {class}, taken at {place}, is held");
    }
}

/// What a lock knows of itself: its class.
#[derive(Debug)]
pub(super) struct Order(&'static Class);

impl Order {
    pub(super) const fn of(class: &'static Class) -> Self {
        Self(class)
    }

    #[inline]
    pub(super) fn class(&self) -> &'static Class {
        self.0
    }

    /// Notes that the lock is taken; that it was opened, when the result is dropped.
    #[inline]
    #[track_caller]
    pub(super) fn acquire(&self) -> Noted {
        acquired(self.0, Location::caller());
        Noted {
            #[cfg(any(debug_assertions, feature = "lock-stat"))]
            class: self.0,
        }
    }
}

/// A lock that is held.
pub(super) struct Noted {
    #[cfg(any(debug_assertions, feature = "lock-stat"))]
    class: &'static Class,
}

#[cfg(any(debug_assertions, feature = "lock-stat"))]
impl Drop for Noted {
    fn drop(&mut self) {
        released(self.class);
    }
}
