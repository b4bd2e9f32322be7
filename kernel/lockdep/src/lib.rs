//! A checker of the order in which locks are taken.
//!
//! Locks of one kind form a [`Class`]. A [`Graph`] remembers which class was ever taken while which
//! other was held, and where. A deadlock needs a cycle of such orders, so whoever takes a lock that
//! closes one is told of it the first time, whether or not anything waited. Neither allocates nor locks.
#![no_std]

mod graph;
mod held;
#[cfg(test)]
mod tests;

pub use graph::{Context, Graph, Report};
pub use held::{Held, MAX_HELD};

use core::sync::atomic::AtomicUsize;

/// The most classes that are told apart; those that come later are not checked.
pub const MAX_CLASSES: usize = 64;

/// A kind of lock: those that protect the same kind of thing. Two of one class must not be held at once.
#[derive(Debug)]
pub struct Class {
    name: &'static str,
    /// Its number in the graph, plus one; 0 before it is first taken.
    number: AtomicUsize,
    allocating: bool,
}

impl Class {
    /// A class under this name, for one [`Graph`].
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, number: AtomicUsize::new(0), allocating: false }
    }

    /// A class, as [`new`](Self::new) makes it, of locks under which memory is allocated, because what they protect is
    /// somebody else's code that does.
    #[must_use]
    pub const fn allocating(name: &'static str) -> Self {
        Self { allocating: true, ..Self::new(name) }
    }

    /// The name that reports call it by.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}
