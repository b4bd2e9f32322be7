//! Classes of locks: what is checked and counted is told by them.

use super::stat::Counts;
use core::{
    ptr::{self, null_mut},
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

/// A kind of lock: those that protect the same kind of thing.
#[derive(Debug)]
pub struct Class {
    /// What the checker of orders knows of it.
    pub(super) order: lockdep::Class,
    pub(super) counts: Counts,
    /// Whether it is in the list of all.
    listed: AtomicBool,
    /// The class that was listed before it.
    next: AtomicPtr<Self>,
}

/// The class that was listed last. A class is listed when it is first counted, and stays.
static LAST: AtomicPtr<Class> = AtomicPtr::new(null_mut());

impl Class {
    /// A class under this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self::with(lockdep::Class::new(name))
    }

    /// A class under this name, of locks under which memory is allocated and freed: what they protect is the code of others,
    /// which does.
    #[must_use]
    pub const fn allocating(name: &'static str) -> Self {
        Self::with(lockdep::Class::allocating(name))
    }

    const fn with(order: lockdep::Class) -> Self {
        Self {
            order,
            counts: Counts::new(),
            listed: AtomicBool::new(false),
            next: AtomicPtr::new(null_mut()),
        }
    }

    /// The name that reports and tables call it by.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.order.name()
    }

    /// Has [`listed`] give it.
    pub(super) fn list(&'static self) {
        if self.listed.load(Ordering::Relaxed) || self.listed.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut last = LAST.load(Ordering::Relaxed);
        loop {
            self.next.store(last, Ordering::Relaxed);
            let this = ptr::from_ref(self).cast_mut();
            match LAST.compare_exchange_weak(last, this, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => last = now,
            }
        }
    }
}

/// The classes that were ever counted.
pub(super) fn listed() -> impl Iterator<Item = &'static Class> {
    // SAFETY: only references to what lives for ever are stored, and null.
    let class = |pointer: &AtomicPtr<Class>| unsafe { pointer.load(Ordering::Acquire).as_ref() };
    core::iter::successors(class(&LAST), move |last| class(&last.next))
}
