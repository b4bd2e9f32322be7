//! Purges: what one CPU frees comes back after every CPU has flushed, and not before.

use crate::{
    explore::explore,
    machine::{Cpu, Model},
};
use core::sync::atomic::Ordering;
use vmalloc::BLOCK_SIZE;

/// Two CPUs allocate, free and speculate while both a third one and they purge: by pages, and by everything.
///
/// Seen failing with two purges at once, for want of an exchange when the turn is taken; and, not to end, with a block that is
/// put into a list twice.
#[test]
fn what_waits_comes_back_after_a_flush() {
    explore(|| {
        let work = |cpu: &Cpu<'_>| {
            let first = cpu.take(1);
            let second = cpu.take(2);
            cpu.free(first);
            cpu.speculate();
            let third = cpu.take(1);
            cpu.free(second);
            cpu.vmalloc.purge();
            cpu.free(third);
        };
        let purge = |cpu: &Cpu<'_>| {
            cpu.vmalloc.purge();
            cpu.speculate();
            cpu.vmalloc.tunables().single_page_flush_ceiling.store(0, Ordering::Relaxed);
            cpu.vmalloc.purge();
        };
        Model::flushing(3, 400).run(|_| {}, &[&work, &work, &purge], |_| {});
    });
}

/// Runs of a block each are freed, whose tables go back, while other CPUs walk there and one purges.
///
/// Seen failing with a push to a list of blocks, and a take of one, that are a load and a store.
#[test]
fn tables_go_back_after_a_flush() {
    explore(|| {
        let work = |cpu: &Cpu<'_>| {
            for _ in 0..2 {
                let run = cpu.try_take(1, |request| request.align(BLOCK_SIZE)).expect("room");
                cpu.speculate();
                cpu.free(run);
            }
        };
        let purge = |cpu: &Cpu<'_>| {
            for _ in 0..2 {
                cpu.speculate();
                cpu.vmalloc.purge();
            }
        };
        Model::flushing(3, 400).run(|_| {}, &[&work, &work, &purge], |_| {});
    });
}

/// Each CPU has what another one frees.
///
/// Seen failing with a purge that frees what became dirty during its flush; without the flush of pages.
#[test]
fn one_cpu_frees_what_another_one_allocated() {
    explore(|| {
        let areas = std::sync::Mutex::new(Vec::new());
        let work = |cpu: &Cpu<'_>| {
            let mine = cpu.take(1);
            areas.lock().expect("no panic").push(mine);
            cpu.speculate();
            let another = areas.lock().expect("no panic").pop();
            let next = cpu.take(2);
            another.into_iter().for_each(|area| cpu.free(area));
            cpu.vmalloc.purge();
            cpu.free(next);
        };
        Model::flushing(3, 400).run(
            |_| {},
            &[&work, &work, &work],
            |cpu| areas.lock().expect("no panic").drain(..).for_each(|area| cpu.free(area)),
        );
    });
}
