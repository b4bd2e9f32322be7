//! A wish: something is to be done once more, however often that is asked for.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};

/// Whether somebody wants a worker to look. Any CPU may [want](Self::want) it at any time; the worker
/// [takes](Self::take) it, and then looks.
#[derive(Debug)]
pub struct Wish(AtomicBool);

impl Wish {
    /// One that nobody has.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// One that nobody has. Loom's atomics cannot be made in a constant.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Wants the worker to look at what the caller has done; `true` if the caller is to wake it. A wish that is there is only
    /// read: CPUs that wish again and again do not take its line of memory from each other.
    #[must_use = "the worker may sleep"]
    pub fn want(&self) -> bool {
        // Of this fence and that of `take` one comes first: either the wish is found taken here, or the worker finds what the
        // caller has done.
        fence(Ordering::SeqCst);
        !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Release)
    }

    /// Takes the wish, for the worker: whether there was one.
    pub fn take(&self) -> bool {
        let wanted = self.0.swap(false, Ordering::Acquire);
        fence(Ordering::SeqCst);
        wanted
    }
}

impl Default for Wish {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, loom))]
mod models {
    extern crate std;

    use super::Wish;
    use crate::models::explore;
    use loom::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    /// Two CPUs do something and want it looked at, while a worker takes a wish that was there before, and looks. What it
    /// did not see is wanted still.
    ///
    /// Seen failing without either fence.
    #[test]
    fn what_is_done_is_seen_or_wanted_still() {
        explore(3, || {
            let (wish, done) = (Arc::new(Wish::new()), Arc::new(AtomicUsize::new(0)));
            assert!(wish.want() && !wish.want());
            let others = [0; 2].map(|_| {
                let (wish, done) = (wish.clone(), done.clone());
                thread::spawn(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    wish.want()
                })
            });
            assert!(wish.take(), "it was there");
            let seen = done.load(Ordering::Relaxed);
            let woke = others.map(|other| usize::from(other.join().expect("no panic")));
            let is_wanted = wish.take();
            assert!(seen == 2 || is_wanted, "{seen} of 2 are seen");
            assert_eq!(
                woke.iter().sum::<usize>(),
                usize::from(is_wanted),
                "who wants it first wakes the worker"
            );
        });
    }
}
