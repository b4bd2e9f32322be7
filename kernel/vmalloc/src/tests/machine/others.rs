//! Other CPUs that do something while the library is in the middle of a call, in an order that is the same in every
//! run.

extern crate std;

use super::Machine;
use core::sync::atomic::{AtomicBool, Ordering};
use std::{
    boxed::Box,
    cell::Cell,
    sync::{Mutex, MutexGuard, PoisonError},
};

std::thread_local! {
    /// What keeps others from acting: locks of the library that this thread holds, read-side sections, and
    /// that they act already.
    static BARS: Cell<usize> = const { Cell::new(0) };
}

type Act = Box<dyn FnMut() + Send>;

/// What others do.
#[derive(Default)]
pub(super) struct Others {
    /// Whether they do anything: nearly always not.
    acting: AtomicBool,
    act: Mutex<Option<Act>>,
}

impl Others {
    fn act(&self) -> MutexGuard<'_, Option<Act>> {
        self.act.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nobody acts on this thread while it lives.
pub(super) struct Bar(());

impl Bar {
    pub fn new() -> Self {
        BARS.set(BARS.get() + 1);
        Self(())
    }

    /// Ends one that was forgotten.
    pub fn lift() {
        drop(Self(()));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        BARS.set(BARS.get() - 1);
    }
}

impl Machine {
    /// Calls `act` from now on whenever the library calls the machine and another CPU could act: no lock is held,
    /// interrupts are on, and nobody acts already. At every call CPUs walk to what they know, as
    /// [`observe`](Self::observe) says.
    pub fn interleave(&self, act: impl FnMut() + Send + 'static) {
        *self.others.act() = Some(Box::new(act));
        self.others.acting.store(true, Ordering::Relaxed);
    }

    /// Ends what [`interleave`](Self::interleave) began.
    pub fn end_interleaving(&self) {
        self.others.acting.store(false, Ordering::Relaxed);
        self.others.act().take();
    }

    /// Whether others act in the middle of a call: they must not wait for who makes it.
    pub(super) fn others_act(&self) -> bool {
        BARS.get() > 0
    }

    /// The library calls the machine: others may act.
    pub(super) fn moment(&self) {
        if !self.others.acting.load(Ordering::Relaxed) {
            return;
        }
        self.observe();
        if BARS.get() > 0 {
            return;
        }
        let _bar = Bar::new();
        let taken = self.others.act().take();
        let Some(mut act) = taken else { return };
        let cpu = self.cpu.load(Ordering::Relaxed);
        act();
        self.run_on(cpu);
        self.others.act().get_or_insert(act);
    }
}
