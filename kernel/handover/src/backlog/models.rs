//! Models of a backlog in every interleaving: as the kernel frees areas after a grace period, each CPU's by a thread of its
//! own, which `vfree_rcu_barrier` waits for.

extern crate std;

use super::{Asked, Backlog};
use crate::{
    Wait,
    models::{Waiting, explore},
};
use loom::{
    cell::UnsafeCell,
    sync::{Arc, Mutex},
    thread,
};
use std::vec::Vec;

/// A CPU: its list, which the CPU's threads use one at a time, and what is counted of it.
struct Cpu {
    list: Mutex<Vec<usize>>,
    backlog: Backlog<Waiting>,
    /// Who waits until the worker was done with something.
    done: Waiting,
    /// What the worker did with each thing.
    freed: [UnsafeCell<bool>; 3],
}

impl Cpu {
    fn new() -> Arc<Self> {
        let freed = [(); 3].map(|()| UnsafeCell::new(false));
        let list = Mutex::new(Vec::new());
        Arc::new(Self { list, backlog: Backlog::new(Waiting::new()), done: Waiting::new(), freed })
    }

    /// As `vfree_rcu`, with batches of two.
    fn defer(&self, thing: usize) {
        let mut list = self.list.lock().expect("nobody panics");
        list.push(thing);
        let added = self.backlog.add();
        drop(list);
        if added.is_multiple_of(2) {
            self.backlog.ask(Asked::Next);
        }
    }

    /// As the CPU's thread, until it is done with so many things: a batch when the next one is taken, or at once.
    fn run(&self, count: usize) {
        let (mut done, mut older) = (0, Vec::new());
        while done < count {
            let asked = self.backlog.next();
            let newer = std::mem::take(&mut *self.list.lock().expect("nobody panics"));
            done += self.free(std::mem::replace(&mut older, newer));
            if asked == Asked::All {
                done += self.free(std::mem::take(&mut older));
            }
        }
    }

    fn free(&self, batch: Vec<usize>) -> usize {
        for &thing in &batch {
            // SAFETY: who reads it has seen that it is done.
            self.freed[thing].with_mut(|freed| unsafe { *freed = true });
        }
        self.backlog.done_with(batch.len());
        self.done.wake_all();
        batch.len()
    }

    /// As `vfree_rcu_barrier`; then looks at what the caller has deferred.
    fn wait_for_all(&self, deferred: &[usize]) {
        let until = self.backlog.added();
        if self.backlog.lacks(until) {
            self.backlog.ask(Asked::All);
        }
        self.done.wait_until(|| !self.backlog.lacks(until));
        for &thing in deferred {
            // SAFETY: the worker is done with it, and wrote this before it said so.
            assert!(self.freed[thing].with(|freed| unsafe { *freed }), "{thing} of {until} is not freed");
        }
    }
}

#[test]
fn what_was_added_waits_until_the_worker_is_done_with_it() {
    explore(0, || {
        let backlog = Backlog::new(Waiting::new());
        assert_eq!([backlog.add(), backlog.add()], [1, 2]);
        assert_eq!((backlog.added(), backlog.waiting()), (2, 2));
        backlog.done_with(1);
        assert_eq!((backlog.waiting(), backlog.lacks(1), backlog.lacks(2)), (1, false, true));
        backlog.ask(Asked::All);
        backlog.ask(Asked::Next);
        assert_eq!(backlog.next(), Asked::All);
    });
}

/// A thread defers two frees, which ask for a batch, and waits for both; another one defers a third meanwhile, and waits, too.
/// Three preemptions.
///
/// Seen failing: with a worker that is woken by who asks for all alone; with a batch counted before it is freed; with the
/// batch's count stored, or loaded, relaxed.
#[test]
fn who_waits_finds_all_freed_that_was_deferred_before() {
    explore(3, || {
        let cpu = Cpu::new();
        let (its, others) = (Arc::clone(&cpu), Arc::clone(&cpu));
        let worker = thread::spawn(move || its.run(3));
        let other = thread::spawn(move || {
            others.defer(2);
            others.wait_for_all(&[2]);
        });
        cpu.defer(0);
        cpu.defer(1);
        cpu.wait_for_all(&[0, 1]);
        other.join().expect("as it should be");
        worker.join().expect("as it should be");
        assert_eq!((cpu.backlog.waiting(), cpu.backlog.added()), (0, 3));
    });
}
