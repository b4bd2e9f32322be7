//! Hooks: the one way in which a lower room calls a higher one.
//!
//! A room that needs something from above declares a table of functions and, in [`Hooks`], what stands in it until
//! another is installed. `bringup` installs each table, once, before the second CPU starts. Hooks lie on cold paths and on
//! the paths of interrupts only: a call through one costs a load, and is not inlined. No lock is taken.

use core::{
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

/// A place for one room's table of hooks.
#[derive(Debug)]
pub struct Hooks<T: 'static> {
    room: &'static str,
    default: &'static T,
    installed: AtomicPtr<T>,
}

impl<T> Hooks<T> {
    /// Makes a place in which `default` stands until another table is installed. `room` is for the report of a second
    /// installation.
    pub const fn new(room: &'static str, default: &'static T) -> Self {
        Self { room, default, installed: AtomicPtr::new(ptr::from_ref(default).cast_mut()) }
    }

    /// Has [`get`](Self::get) return `table` from now on.
    ///
    /// # Panics
    /// A table was installed before: two rooms believe that the hooks are theirs.
    pub fn install(&self, table: &'static T) {
        let [default, table] = [self.default, table].map(|table| ptr::from_ref(table).cast_mut());
        let is_first =
            self.installed.compare_exchange(default, table, Ordering::Release, Ordering::Relaxed).is_ok();
        assert!(is_first, "the hooks of {} were installed twice", self.room);
    }

    /// Returns the table to call by.
    #[inline]
    pub fn get(&self) -> &'static T {
        // SAFETY: only pointers made from `&'static T` are stored. Acquire: the table is seen as it was made.
        unsafe { &*self.installed.load(Ordering::Acquire) }
    }
}
