//! Threads that each play a CPU: how they wait for each other, and how they are interrupted.

extern crate std;

use super::Machine;
use crate::MAX_CPUS;
use core::{
    cell::Cell,
    sync::atomic::{AtomicU8, Ordering},
};
#[cfg(shuttle)]
use shuttle::{thread::yield_now, thread_local};
#[cfg(not(shuttle))]
use std::{thread::yield_now, thread_local};

thread_local! {
    /// The CPU that this thread plays, and the one that it acts as at the moment.
    static PLAYED: Cell<Option<(usize, usize)>> = const { Cell::new(None) };
}

thread_local! {
    /// How often interrupts were turned off on the CPU that this thread plays, and not on again.
    static OFF: Cell<usize> = const { Cell::new(0) };
}

/// No thread plays the CPU: who interrupts it does what its handler does.
const IDLE: u8 = 0;
/// A thread plays it.
const PLAYING: u8 = 1;
/// It is to be interrupted, by its thread.
const INTERRUPTED: u8 = 2;
/// Another thread does what its handler does.
const BORROWED: u8 = 3;

/// What threads play.
pub(super) struct Played([AtomicU8; MAX_CPUS]);

impl Played {
    pub const fn new() -> Self {
        Self([const { AtomicU8::new(IDLE) }; MAX_CPUS])
    }

    fn change(&self, cpu: usize, from: u8, to: u8) -> bool {
        self.try_change(cpu, from, to).is_ok()
    }

    /// Changes what is played, or says what is instead.
    fn try_change(&self, cpu: usize, from: u8, to: u8) -> Result<u8, u8> {
        self.0[cpu].compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

/// The CPU that this thread acts as, if it plays one.
pub(super) fn acting() -> Option<usize> {
    PLAYED.with(Cell::get).map(|(_, acting)| acting)
}

/// Has this thread act as a CPU, if it plays one.
pub(super) fn act_as(cpu: usize) -> bool {
    let played = PLAYED.with(Cell::get);
    PLAYED.with(|now| now.set(played.map(|(played, _)| (played, cpu))));
    played.is_some()
}

/// Interrupts are off where this thread is, while it lives.
pub(super) struct Off(());

impl Off {
    pub fn new() -> Self {
        OFF.with(|off| off.set(off.get() + 1));
        Self(())
    }
}

impl Drop for Off {
    fn drop(&mut self) {
        OFF.with(|off| off.set(off.get() - 1));
    }
}

/// Whether interrupts are off where this thread is.
fn is_uninterrupted() -> bool {
    OFF.with(Cell::get) > 0
}

impl Machine {
    /// Makes this thread alone play a CPU while `act` runs: it is on that CPU, whatever
    /// [`run_on`](Self::run_on) says elsewhere, and other threads' interrupts wait until it calls the machine.
    ///
    /// # Panics
    /// if the thread plays a CPU already, or another one plays that CPU.
    #[doc(hidden)]
    pub fn play<T>(&self, cpu: usize, act: impl FnOnce() -> T) -> T {
        assert!(acting().is_none() && cpu < self.cpus);
        while let Err(now) = self.played.try_change(cpu, IDLE, PLAYING) {
            assert_eq!(now, BORROWED, "somebody plays CPU {cpu}");
            yield_now();
        }
        PLAYED.with(|played| played.set(Some((cpu, cpu))));
        let done = act();
        while !self.played.change(cpu, PLAYING, IDLE) {
            self.take_interrupts();
        }
        PLAYED.with(|played| played.set(None));
        done
    }

    /// Takes the interrupt that another thread sent to the CPU that this one plays, if it may be interrupted.
    pub(super) fn take_interrupts(&self) {
        let Some((cpu, acting)) = PLAYED.with(Cell::get) else { return };
        if cpu == acting && !is_uninterrupted() && self.played.change(cpu, INTERRUPTED, PLAYING) {
            self.shootdown.answer(&self);
        }
    }

    /// Interrupts a CPU by its thread. If none plays it, what its handler does is done here.
    pub(super) fn interrupt_thread(&self, cpu: usize, handler: impl FnOnce()) {
        let state = &self.played.0[cpu];
        loop {
            match state.load(Ordering::Acquire) {
                IDLE if self.played.change(cpu, IDLE, BORROWED) => {
                    handler();
                    state.store(IDLE, Ordering::Release);
                    return;
                }
                PLAYING if self.played.change(cpu, PLAYING, INTERRUPTED) => return,
                INTERRUPTED => return,
                _ => self.relax(),
            }
        }
    }

    /// Lets other threads run, for a thread that waits for one of them.
    pub(crate) fn relax(&self) {
        if is_uninterrupted() {
            self.shootdown.serve(&self);
        } else {
            self.take_interrupts();
        }
        yield_now();
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    extern crate std;

    use super::{BORROWED, IDLE, INTERRUPTED, Off, PLAYING};
    use crate::{Flusher, host::Machine};
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::{string::String, thread};

    fn state(machine: &Machine, cpu: usize) -> u8 {
        machine.played.0[cpu].load(Ordering::Acquire)
    }

    fn wait_for(done: impl Fn() -> bool) {
        while !done() {
            thread::yield_now();
        }
    }

    #[test]
    fn nobody_plays_a_cpu_that_another_one_plays() {
        let machine = &Machine::new(2, 10);
        let second = thread::scope(|scope| machine.play(1, || scope.spawn(|| machine.play(1, || ())).join()));
        let said = *second.expect_err("two play it").downcast::<String>().expect("a text");
        assert!(said.contains("somebody plays CPU 1"), "{said}");
        assert_eq!(state(machine, 1), IDLE);
    }

    #[test]
    fn where_a_thread_acts_is_its_own_affair() {
        let machine = &Machine::new(3, 10);
        machine.run_on(2);
        machine.play(1, || {
            assert_eq!(machine.here(), 1);
            machine.run_on(0);
            assert_eq!(machine.here(), 0);
        });
        assert_eq!(machine.here(), 2);
    }

    #[test]
    fn an_interrupt_waits_until_they_are_on_and_the_thread_is_back_on_its_cpu() {
        let machine = &Machine::new(2, 10);
        let is_taken = || {
            machine.take_interrupts();
            state(machine, 1) == PLAYING
        };
        let interrupt = || machine.interrupt_thread(1, || panic!("its thread takes it"));
        machine.play(1, || {
            let (off, nested) = (Off::new(), Off::new());
            interrupt();
            // A second one is the same one.
            interrupt();
            assert!(!is_taken());
            drop(nested);
            assert!(!is_taken());
            drop(off);
            machine.run_on(0);
            assert!(!is_taken());
            machine.run_on(1);
            assert!(is_taken());
            // The last one is taken at the end.
            interrupt();
            assert_eq!(state(machine, 1), INTERRUPTED);
        });
        assert_eq!(state(machine, 1), IDLE);
    }

    #[test]
    fn a_cpu_is_played_when_the_handler_that_borrows_it_is_done() {
        let machine = &Machine::new(2, 10);
        let (seen, done) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                machine.interrupt_thread(1, || {
                    wait_for(|| seen.load(Ordering::Acquire));
                    thread::sleep(core::time::Duration::from_millis(50));
                    done.store(true, Ordering::Release);
                });
            });
            wait_for(|| state(machine, 1) == BORROWED);
            seen.store(true, Ordering::Release);
            machine.play(1, || assert!(done.load(Ordering::Acquire)));
        });
    }
}
