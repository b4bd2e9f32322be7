//! Other CPUs that act in the middle of a call of the library, in an order that is the same in every run.

extern crate std;

use super::{
    Machine,
    others::{Bar, is_barred},
};
use core::sync::atomic::Ordering;
use std::boxed::Box;

impl Machine {
    /// Calls `act` from now on whenever the library calls the machine and another CPU could act: no lock is held,
    /// interrupts are on, and nobody acts already. At every call CPUs walk to what they know, as
    /// [`observe`](Self::observe) says.
    pub(crate) fn interleave(&self, act: impl FnMut() + Send + 'static) {
        *self.others.act() = Some(Box::new(act));
        self.others.acting.store(true, Ordering::Relaxed);
    }

    /// Ends what [`interleave`](Self::interleave) began.
    pub(crate) fn end_interleaving(&self) {
        self.others.acting.store(false, Ordering::Relaxed);
        self.others.act().take();
    }

    /// Whether others act in the middle of a call: they must not wait for who makes it.
    pub(super) fn others_act(&self) -> bool {
        is_barred()
    }

    /// The library calls the machine: others may act.
    pub(super) fn moment(&self) {
        if !self.others.acting.load(Ordering::Relaxed) {
            return;
        }
        self.observe();
        if is_barred() {
            return;
        }
        let _bar = Bar::new();
        let taken = self.others.act().take();
        let Some(mut act) = taken else { return };
        let cpu = self.current();
        act();
        self.run_on(cpu);
        self.others.act().get_or_insert(act);
    }
}
