//! The order that locks are taken in, checked in debug builds by the crate [`lockdep`].
//!
//! Each pair of lock classes that can deadlock is reported once, in one line on the console, and
//! counted. In release builds nothing here does or stores anything.

use crate::{arch::cpu, drivers::serial, println};
use core::{
    cell::UnsafeCell,
    panic::Location,
    sync::atomic::{AtomicUsize, Ordering},
};
use lockdep::{Class, Context, Graph, Report};
use vmalloc::MAX_CPUS;
use x86_64::instructions::interrupts;

/// Whether orders are checked in this build.
pub const CHECKED: bool = cfg!(debug_assertions);

static GRAPH: Graph = Graph::new();
static REPORTS: AtomicUsize = AtomicUsize::new(0);

/// The locks a CPU holds, and how many interrupts it is in.
struct Local {
    held: lockdep::Held,
    interrupts: u32,
}

#[repr(align(64))]
struct PerCpu(UnsafeCell<Local>);

// SAFETY: each is used by its own CPU only, with interrupts off: see `local`.
unsafe impl Sync for PerCpu {}

static LOCAL: [PerCpu; MAX_CPUS] =
    [const { PerCpu(UnsafeCell::new(Local { held: lockdep::Held::new(), interrupts: 0 })) }; MAX_CPUS];

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
        check(class, place);
    }
}

/// To be called when a lock of `class` was opened, with preemption still off.
#[inline]
pub(crate) fn released(class: &'static Class) {
    if CHECKED {
        local(|local| local.held.release(class));
    }
}

fn check(class: &'static Class, place: &'static Location<'static>) {
    /// Reports of one lock that are printed; all are counted.
    const MOST: usize = 2;
    let interrupts_on = interrupts::are_enabled();
    let mut reports = [None::<Report>; MOST];
    let mut count = 0;
    let can_print = local(|local| {
        let context = match (local.interrupts, interrupts_on) {
            (0, true) => Context::InterruptsOn,
            (0, false) => Context::InterruptsOff,
            _ => Context::Interrupt,
        };
        let can_print = !local.held.holds(&serial::CLASS);
        GRAPH.take(&mut local.held, class, place, context, |report| {
            if let Some(room) = reports.get_mut(count) {
                *room = Some(report);
            }
            count += 1;
        });
        can_print
    });
    if count > 0 {
        REPORTS.fetch_add(count, Ordering::Relaxed);
        if can_print {
            reports.iter().flatten().for_each(|report| println!("{report}"));
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
    if CHECKED { local(|local| local.held.count()) } else { 0 }
}

/// An interrupt begins: the locks it takes are in no order with those of the code that it interrupted.
/// Called with interrupts off; the result is for [`leave_interrupt`], on the same CPU.
#[inline]
pub(crate) fn enter_interrupt() -> usize {
    if !CHECKED {
        return 0;
    }
    local(|local| {
        local.interrupts += 1;
        local.held.enter()
    })
}

/// The interrupt ends for which [`enter_interrupt`] gave `before`.
#[inline]
pub(crate) fn leave_interrupt(before: usize) {
    if CHECKED {
        local(|local| {
            local.interrupts -= 1;
            local.held.leave(before);
        });
    }
}

/// A lock's class, in debug builds.
#[derive(Debug)]
pub(super) struct Order {
    #[cfg(debug_assertions)]
    class: &'static Class,
}

impl Order {
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "nothing is checked"))]
    pub(super) const fn of(class: &'static Class) -> Self {
        Self {
            #[cfg(debug_assertions)]
            class,
        }
    }

    /// Notes that the lock is taken; that it was opened, when the result is dropped.
    #[inline]
    #[track_caller]
    pub(super) fn acquire(&self) -> Held {
        #[cfg(debug_assertions)]
        acquired(self.class, Location::caller());
        Held {
            #[cfg(debug_assertions)]
            class: self.class,
        }
    }
}

/// A lock that is held.
pub(super) struct Held {
    #[cfg(debug_assertions)]
    class: &'static Class,
}

#[cfg(debug_assertions)]
impl Drop for Held {
    fn drop(&mut self) {
        released(self.class);
    }
}
