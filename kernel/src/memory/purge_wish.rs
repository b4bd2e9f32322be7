//! The wish that an instance be purged in the background, so that nobody's allocation waits for it.
//!
//! Whoever frees too much wishes, in any context; a thread of the services serves, and is woken by a
//! [hook](super::hooks::MemoryHooks::purge). No lock is taken here.

use super::hooks;
use crate::sync::{Exclusive, ExclusiveGuard};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use handover::Wish;

/// What an instance and the thread that purges it share.
#[derive(Debug)]
pub struct PurgeWish {
    wanted: Wish,
    /// The right to be the thread that purges.
    server: Exclusive,
    /// Whether that thread is to go on.
    served: AtomicBool,
    /// 0: whoever frees purges.
    drain: AtomicUsize,
}

/// The wish of the kernel's own instance.
pub static KERNEL: PurgeWish = PurgeWish::new();

impl PurgeWish {
    /// Makes one that no thread serves yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            wanted: Wish::new(),
            server: Exclusive::new(),
            served: AtomicBool::new(false),
            drain: AtomicUsize::new(1),
        }
    }

    /// Whether the thread is used; 0: whoever frees purges.
    pub fn drain(&self) -> &AtomicUsize {
        &self.drain
    }

    /// Has the thread purge, in any context; `false` if there is none, or it is not used.
    pub fn wake(&self) -> bool {
        let serves = self.is_served() && self.drain.load(Ordering::Relaxed) != 0;
        if serves {
            self.want();
        }
        serves
    }

    /// Wakes the thread, unless that was done since it last [took](Self::take) the wish.
    pub fn want(&self) {
        if self.wanted.want() {
            (hooks::HOOKS.get().purge)();
        }
    }

    /// Takes the wish back; whether there was one. For the thread.
    pub fn take(&self) -> bool {
        self.wanted.take()
    }

    /// Says that there is a thread from now on, until the result is dropped; `None` if there is one already.
    pub fn serve(&self) -> Option<ExclusiveGuard<'_>> {
        let server = self.server.try_take()?;
        self.served.store(true, Ordering::Release);
        Some(server)
    }

    /// Whether there is a thread that is to go on.
    pub fn is_served(&self) -> bool {
        self.served.load(Ordering::Acquire)
    }

    /// Has the thread end.
    pub fn end(&self) {
        self.served.store(false, Ordering::Release);
        self.want();
    }
}

impl Default for PurgeWish {
    fn default() -> Self {
        Self::new()
    }
}
