//! The locks that are held in one context of a CPU.

use super::Class;
use core::panic::Location;

/// The most locks that one CPU is followed through at once; more are not checked.
pub const MAX_HELD: usize = 16;

/// A lock that is held: its class, and where it was taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub class: &'static Class,
    pub place: &'static Location<'static>,
}

/// The locks that one context of a CPU holds, first taken first. What an interrupt handler takes is in no order with what
/// the code holds that it interrupted, so a CPU has one value for its threads and one for its handlers.
#[derive(Debug)]
pub struct Held {
    taken: [Option<Taken>; MAX_HELD],
    count: usize,
}

impl Held {
    /// No lock.
    #[must_use]
    pub const fn new() -> Self {
        Self { taken: [None; MAX_HELD], count: 0 }
    }

    /// How many locks are held.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The class of the lock taken last of those under which no memory is allocated, and where it was taken.
    #[must_use]
    pub fn forbids_allocation(&self) -> Option<(&'static str, &'static Location<'static>)> {
        let last = self.iter().filter(|taken| !taken.class.allocating).last();
        last.map(|Taken { class, place }| (class.name(), place))
    }

    /// Whether a lock of the class is held.
    #[must_use]
    pub fn holds(&self, class: &Class) -> bool {
        self.taken[..self.count].iter().flatten().any(|taken| core::ptr::eq(taken.class, class))
    }

    /// The locks, first taken first.
    pub(super) fn iter(&self) -> impl Iterator<Item = Taken> {
        self.taken[..self.count].iter().flatten().copied()
    }

    /// Whether there was room.
    pub(super) fn push(&mut self, class: &'static Class, place: &'static Location<'static>) -> bool {
        let Some(room) = self.taken.get_mut(self.count) else { return false };
        *room = Some(Taken { class, place });
        self.count += 1;
        true
    }

    /// Forgets the lock of the class taken last. One that [`push`](Self::push) had no room for is not here.
    pub fn release(&mut self, class: &'static Class) {
        let is_it = |taken: &Option<Taken>| taken.is_some_and(|taken| core::ptr::eq(taken.class, class));
        if let Some(index) = self.taken[..self.count].iter().rposition(is_it) {
            self.taken[index..self.count].rotate_left(1);
            self.count -= 1;
        }
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::new()
    }
}
