//! The orders seen so far, and what is wrong with a new one.
//!
//! All CPUs add to the graph at once, without a lock. An order is first added, then a cycle looked for,
//! both with `SeqCst`: of several CPUs that close a cycle together, each adding a part, the last to add
//! sees all of it.

use super::{Class, Held, MAX_CLASSES};
use core::{
    fmt,
    panic::Location,
    ptr::null_mut,
    sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering},
};

type Place = &'static Location<'static>;

/// In what state of the CPU a lock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// An interrupt can come while the lock is held.
    InterruptsOn,
    /// None can.
    InterruptsOff,
    /// In an interrupt.
    Interrupt,
}

/// What can deadlock.
#[derive(Clone, Copy, Debug)]
pub enum Report {
    /// Of two classes each was taken while the other was held, perhaps with others in between.
    Inversion {
        /// The class held and where it was taken; the class then asked for, and where.
        now: [(&'static str, Place); 2],
        /// The two locks of the opposite order, and where each was taken when that was seen.
        before: [(&'static str, Place); 2],
    },
    /// A lock was asked for while one of its class was held.
    Recursion {
        /// The class.
        class: &'static str,
        /// Where the first was taken.
        held: Place,
        /// Where the second was asked for.
        taken: Place,
    },
    /// A class is taken in interrupts, and elsewhere while they are on.
    Interrupt {
        /// The class.
        class: &'static str,
        /// Where an interrupt took it.
        in_interrupt: Place,
        /// Where it was taken with interrupts on.
        interruptible: Place,
    },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inversion { now: [held, taken], before: [first, second] } => write!(
                f,
                "lock order inversion: {} (taken at {}) then {} (at {}); before, {} (at {}) then {} (at {})",
                held.0, held.1, taken.0, taken.1, first.0, first.1, second.0, second.1
            ),
            Self::Recursion { class, held, taken } => {
                write!(f, "lock recursion: {class} (taken at {held}) then {class} again (at {taken})")
            }
            Self::Interrupt { class, in_interrupt, interruptible } => write!(
                f,
                "lock in interrupt: {class} (taken in an interrupt at {in_interrupt}) \
                 is also taken with interrupts on (at {interruptible})"
            ),
        }
    }
}

/// Where an order was first seen. The two places may be of different sightings of the same order.
struct Order {
    held: AtomicPtr<Location<'static>>,
    taken: AtomicPtr<Location<'static>>,
}

/// The orders that classes were taken in.
pub struct Graph {
    classes: [AtomicPtr<Class>; MAX_CLASSES],
    count: AtomicUsize,
    /// Bit n of row m: class n was taken while m was held.
    after: [AtomicU64; MAX_CLASSES],
    orders: [[Order; MAX_CLASSES]; MAX_CLASSES],
    in_interrupt: [AtomicPtr<Location<'static>>; MAX_CLASSES],
    interruptible: [AtomicPtr<Location<'static>>; MAX_CLASSES],
    /// Bit n: class n was reported for interrupts.
    reported: AtomicU64,
}

const _: () = assert!(MAX_CLASSES == u64::BITS as usize);

impl Graph {
    /// No order was seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            classes: [const { AtomicPtr::new(null_mut()) }; MAX_CLASSES],
            count: AtomicUsize::new(0),
            after: [const { AtomicU64::new(0) }; MAX_CLASSES],
            orders: [const {
                [const { Order { held: AtomicPtr::new(null_mut()), taken: AtomicPtr::new(null_mut()) } };
                    MAX_CLASSES]
            }; MAX_CLASSES],
            in_interrupt: [const { AtomicPtr::new(null_mut()) }; MAX_CLASSES],
            interruptible: [const { AtomicPtr::new(null_mut()) }; MAX_CLASSES],
            reported: AtomicU64::new(0),
        }
    }

    /// Notes that the context whose locks are `held` takes one of `class` at `place`; best called before it
    /// waits for the lock. Gives each thing found wrong to `report`, once for each pair of classes.
    pub fn take(
        &self,
        held: &mut Held,
        class: &'static Class,
        place: Place,
        context: Context,
        mut report: impl FnMut(Report),
    ) {
        if let Some(number) = self.number(class) {
            for other in held.iter() {
                let Some(before) = self.number(other.class) else { continue };
                if let Some(found) = self.add(before, number, other.place, place) {
                    report(found);
                }
            }
            if let Some(found) = self.note_context(number, place, context) {
                report(found);
            }
        }
        let _unchecked_if_too_many = held.push(class, place);
    }

    /// The class's number; a new one if it has none. `None` if there are too many classes.
    fn number(&self, class: &'static Class) -> Option<usize> {
        if let Some(number) = class.number.load(Ordering::Acquire).checked_sub(1) {
            return Some(number);
        }
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        if number >= MAX_CLASSES {
            self.count.store(MAX_CLASSES, Ordering::Relaxed);
            return None;
        }
        self.classes[number].store(core::ptr::from_ref(class).cast_mut(), Ordering::Relaxed);
        // Of two CPUs that number a class at once one wins; the other's number stays unused.
        match class.number.compare_exchange(0, number + 1, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Some(number),
            Err(first) => Some(first - 1),
        }
    }

    /// Adds the order of two classes; what is wrong if it is new and closes a cycle.
    fn add(&self, held: usize, taken: usize, held_at: Place, taken_at: Place) -> Option<Report> {
        if self.after[held].load(Ordering::Relaxed) & 1 << taken != 0 {
            return None;
        }
        let order = &self.orders[held][taken];
        order.held.store(pointer(held_at), Ordering::Relaxed);
        order.taken.store(pointer(taken_at), Ordering::Relaxed);
        let before = self.after[held].fetch_or(1 << taken, Ordering::SeqCst);
        if before & 1 << taken != 0 {
            return None;
        }
        if held == taken {
            return Some(Report::Recursion { class: self.name(held), held: held_at, taken: taken_at });
        }
        let next = self.first_step(taken, held)?;
        let order = &self.orders[taken][next];
        Some(Report::Inversion {
            now: [(self.name(held), held_at), (self.name(taken), taken_at)],
            before: [
                (self.name(taken), place(&order.held).unwrap_or(taken_at)),
                (self.name(next), place(&order.taken).unwrap_or(held_at)),
            ],
        })
    }

    /// The class after `from` on a way of orders that leads to `to`; `None` if none does.
    fn first_step(&self, from: usize, to: usize) -> Option<usize> {
        let first = self.after[from].load(Ordering::SeqCst);
        let reaches = |&start: &usize| {
            let (mut reached, mut unseen) = (1_u64 << start, 1_u64 << start);
            while unseen != 0 {
                let class = unseen.trailing_zeros() as usize;
                unseen &= unseen - 1;
                let new = self.after[class].load(Ordering::SeqCst) & !reached;
                reached |= new;
                unseen |= new;
            }
            reached & 1 << to != 0
        };
        let direct = (first & 1 << to != 0).then_some(to);
        direct.or_else(|| (0..MAX_CLASSES).filter(|&class| first & 1 << class != 0).find(reaches))
    }

    /// Notes the context a class is taken in; what is wrong with it, once.
    fn note_context(&self, class: usize, at: Place, context: Context) -> Option<Report> {
        let (mine, other) = match context {
            Context::InterruptsOff => return None,
            Context::Interrupt => (&self.in_interrupt[class], &self.interruptible[class]),
            Context::InterruptsOn => (&self.interruptible[class], &self.in_interrupt[class]),
        };
        if mine.load(Ordering::Relaxed).is_null() {
            mine.store(pointer(at), Ordering::SeqCst);
        }
        if other.load(Ordering::SeqCst).is_null() {
            return None;
        }
        if self.reported.fetch_or(1 << class, Ordering::Relaxed) & 1 << class != 0 {
            return None;
        }
        Some(Report::Interrupt {
            class: self.name(class),
            in_interrupt: place(&self.in_interrupt[class])?,
            interruptible: place(&self.interruptible[class])?,
        })
    }

    fn name(&self, number: usize) -> &'static str {
        let class = self.classes[number].load(Ordering::Relaxed);
        // SAFETY: only pointers made from `&'static Class` are stored.
        unsafe { class.as_ref() }.map_or("?", Class::name)
    }
}

impl Default for Graph {
    fn default() -> Self {
        Self::new()
    }
}

fn pointer(place: Place) -> *mut Location<'static> {
    core::ptr::from_ref(place).cast_mut()
}

fn place(stored: &AtomicPtr<Location<'static>>) -> Option<Place> {
    // SAFETY: only pointers made from `&'static Location` are stored; null says that none was.
    unsafe { stored.load(Ordering::Relaxed).as_ref() }
}
