//! Models of a grace period and of readers on other CPUs, in every interleaving.

extern crate std;

use super::{GracePeriod, Passes};
use crate::models::explore;
use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
use std::vec::Vec;

/// What readers look at: a number of one of two things, each of which is written when nobody looks at it any more.
struct Shared {
    current: AtomicUsize,
    things: [UnsafeCell<u32>; 2],
    passes: Vec<Passes>,
    /// Which CPUs have no reader any more, and do not pass.
    are_off: Vec<AtomicBool>,
}

impl Shared {
    fn new(readers: usize) -> Arc<Self> {
        Arc::new(Self {
            current: AtomicUsize::new(0),
            things: [UnsafeCell::new(1), UnsafeCell::new(2)],
            passes: (0..readers).map(|_| Passes::new()).collect(),
            are_off: (0..readers).map(|_| AtomicBool::new(false)).collect(),
        })
    }

    /// What the CPU of this number does: it reads, passes, reads again, and is off when it has passed again.
    fn read(&self, cpu: usize) {
        for _ in 0..2 {
            let current = self.current.load(Ordering::Acquire);
            // SAFETY: loom finds out whether another thread writes it.
            self.things[current].with(|thing| assert_ne!(unsafe { *thing }, 0, "it is gone"));
            self.passes[cpu].pass();
        }
        self.are_off[cpu].store(true, Ordering::Release);
    }

    /// Puts the second thing in the place of the first, waits, and destroys the first.
    fn replace(&self) {
        self.current.store(1, Ordering::Release);
        let mut period = GracePeriod::<2>::new();
        let cpus = || self.passes.iter().enumerate();
        period.start(cpus);
        for (cpu, passes) in cpus() {
            while period.is_late(cpu, passes) && !self.are_off[cpu].load(Ordering::Acquire) {
                thread::yield_now();
            }
        }
        period.end();
        // SAFETY: loom finds out whether another thread reads it.
        self.things[0].with_mut(|thing| unsafe { *thing = 0 });
    }
}

fn run(preemptions: usize, readers: usize) {
    explore(preemptions, move || {
        let shared = Shared::new(readers);
        let readers: Vec<_> = (0..readers)
            .map(|cpu| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.read(cpu))
            })
            .collect();
        shared.replace();
        readers.into_iter().for_each(|reader| reader.join().expect("as it should be"));
    });
}

/// Each CPU is late until it has passed once more.
///
/// Seen failing with passes that are not counted, or not looked at, and with a CPU that is always late.
#[test]
fn who_has_passed_is_not_late() {
    explore(0, || {
        let passes = [(); 2].map(|()| Passes::new());
        passes.iter().for_each(Passes::pass);
        let mut period = GracePeriod::<2>::new();
        period.start(|| passes.iter().enumerate());
        let late = || [0, 1].map(|cpu| period.is_late(cpu, &passes[cpu]));
        assert_eq!(late(), [true; 2]);
        passes[0].pass();
        assert_eq!(late(), [false, true]);
        passes[1].pass();
        assert_eq!(late(), [false; 2]);
    });
}

/// A CPU reads while what it may be reading is replaced. Three preemptions.
///
/// Seen failing (it is written while it is read) without the fence of `pass`, without that of `start`, with nobody late, and
/// without both the fence of `end` and the acquire of `count`, each of which does alone. That `pass` releases what was done
/// before is not seen: with the store relaxed both models hold.
#[test]
fn a_reader_is_waited_for() {
    run(3, 1);
}

/// Two CPUs read. Two preemptions.
///
/// Seen failing as the other one.
#[test]
fn each_of_two_readers_is_waited_for() {
    run(2, 2);
}
