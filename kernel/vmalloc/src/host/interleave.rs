//! Other CPUs that act in the middle of a call of the library, in an order that is the same in every run.

extern crate std;

use super::{
    Machine,
    others::{Bar, is_barred},
};
use core::{mem::transmute, sync::atomic::Ordering};
use std::{
    boxed::Box,
    thread::{self, ThreadId},
};

/// What acts during one call, on the thread that makes it.
struct Borrowed {
    act: *mut dyn FnMut(),
    thread: ThreadId,
}

// SAFETY: it is called on its own thread alone.
unsafe impl Send for Borrowed {}

impl Borrowed {
    fn call(&self) {
        assert_eq!(self.thread, thread::current().id(), "another thread's");
        // SAFETY: `meanwhile` has it borrowed until nobody has this any more, and `moment` calls nobody who acts already.
        unsafe { (*self.act)() };
    }
}

/// Ends what `meanwhile` began, however the call ends.
struct Ending<'m>(&'m Machine);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end_interleaving();
    }
}

impl Machine {
    /// Calls `act` from now on whenever the library calls the machine and another CPU could act: no lock is held,
    /// interrupts are on, and nobody acts already. At every call CPUs walk to what they know, as
    /// [`observe`](Self::observe) says.
    pub(crate) fn interleave(&self, act: impl FnMut() + Send + 'static) {
        *self.others.act() = Some(Box::new(act));
        self.others.acting.store(true, Ordering::Relaxed);
    }

    /// Runs `call`, and lets other CPUs act in the middle of it: `act` is called whenever the library calls
    /// the machine and another CPU could do something, because no lock is held and interrupts are on. It says
    /// by [`run_on`](Self::run_on) which CPU acts, and may call the library; the CPU that was interrupted
    /// goes on afterwards. At each such moment all CPUs [walk](Self::observe) again to the pages they know.
    ///
    /// # Panics
    /// if others act already.
    pub fn meanwhile<T>(&self, act: &mut dyn FnMut(), call: impl FnOnce() -> T) -> T {
        assert!(!self.others.acting.load(Ordering::Relaxed), "others act already");
        let act: *mut (dyn FnMut() + '_) = act;
        // SAFETY: only the lifetime differs, and `_ending` takes the pointer away before that ends.
        let act = unsafe { transmute::<*mut (dyn FnMut() + '_), *mut (dyn FnMut() + 'static)>(act) };
        let borrowed = Borrowed { act, thread: thread::current().id() };
        let _ending = Ending(self);
        self.interleave(move || borrowed.call());
        call()
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
        self.take_interrupts();
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

#[cfg(all(test, not(shuttle)))]
mod tests {
    extern crate std;

    use crate::{Platform, host::Machine};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn others_act_in_the_middle_of_one_call_alone() {
        let machine = &Machine::new(1, 10);
        let call = || _ = machine.direct_map(machine.root());
        let mut acts = 0;
        for calls in 1..=2 {
            machine.meanwhile(&mut || acts += 1, call);
            call();
            assert_eq!(acts, calls);
        }
        // However it ends.
        catch_unwind(AssertUnwindSafe(|| machine.meanwhile(&mut || (), || panic!("it fails"))))
            .expect_err("it fails");
        machine.meanwhile(&mut || acts += 1, call);
        assert_eq!(acts, 3);
    }
}
