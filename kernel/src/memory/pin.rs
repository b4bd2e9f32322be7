//! How a [`Pin`] of this kernel serves the vmalloc library: the library's locks are taken with one, and each is of a class
//! that [`sync::order`](crate::sync::order) and [`sync::stat`](crate::sync::stat) follow. In release builds nothing is
//! followed, and a lock that is open at once costs nothing here.

use crate::{
    arch::cpu::Pin,
    lock_class,
    sync::{Class, order, waits},
};
use core::panic::Location;
use vmalloc::{CpuPin, LockClass};

impl CpuPin for Pin {
    #[inline]
    fn cpu(&self) -> usize {
        Self::cpu(self)
    }

    #[inline]
    fn acquiring(&self, class: LockClass, place: &'static Location<'static>) {
        order::acquired(library_lock(class), place);
    }

    #[inline]
    fn waiting(&self, class: LockClass, wait: impl FnOnce()) {
        waits::wait(library_lock(class), wait);
    }

    #[inline]
    fn released(&self, class: LockClass) {
        order::released(library_lock(class));
    }
}

/// The class of one of the vmalloc library's locks.
#[inline]
fn library_lock(class: LockClass) -> &'static Class {
    match class {
        LockClass::Heap => lock_class!("heap"),
        LockClass::Arena => lock_class!("vmalloc arena"),
        LockClass::Pool => lock_class!("vmalloc pool"),
        LockClass::Block => lock_class!("vmalloc block"),
        LockClass::Reserve => lock_class!("vmalloc table reserve"),
        LockClass::Runs => lock_class!("vmalloc cached runs"),
        LockClass::Notifiers => lock_class!("vmalloc notifiers"),
        _ => lock_class!("another lock of vmalloc"),
    }
}
