//! Blocks' pages freed by several CPUs while others purge: none is lost, none comes back early. All of the instance is
//! real: its calls, its lists, its locks and its page tables.

extern crate std;

use super::{
    instance::{Shared, assert_free_pages_are_flushed, run, with_instance},
    machine::explore,
};
use crate::{Frame, PAGE_SIZE, Platform, Protection};
use core::{ptr::NonNull, sync::atomic::Ordering};
use std::vec::Vec;

/// An area that a thread may take with it.
#[derive(Clone, Copy)]
struct Area(usize);

impl Area {
    /// An area of the instance's own frames.
    fn owned(instance: &Shared) -> Self {
        Self(instance.vmalloc(PAGE_SIZE).expect("room").as_ptr() as usize)
    }

    /// An area that shows a frame of the caller's, in another block than owned ones.
    fn mapped(instance: &Shared) -> Self {
        let area = instance.vmap(&[Frame::new(0x1000)], Protection::ReadWrite);
        Self(area.expect("room").as_ptr() as usize)
    }

    fn address(self) -> NonNull<u8> {
        NonNull::new(self.0 as *mut u8).expect("no area is at zero")
    }

    fn free(self, instance: &Shared) {
        // SAFETY: nobody uses it.
        unsafe { instance.vfree(self.address()) }.expect("it is one");
    }

    fn unmap(self, instance: &Shared) {
        // SAFETY: nobody uses it.
        unsafe { instance.vunmap(self.address()) }.expect("it is one");
    }
}

/// Purges; no page of the block that is free then may be in a TLB.
fn purge(instance: &Shared, block: usize) {
    instance.purge();
    assert_free_pages_are_flushed(instance, block);
}

/// Two CPUs free an area each in one block, and both purge: by pages and by everything. Three preemptions, which take a
/// tenth of the time that four take.
///
/// Seen failing: with `Pages::end_purge` saying that nothing waits on, whatever does (pages are lost). Not with
/// `Pages::end_flush` making dirty pages free too, be it by four preemptions: tests of pages and of the quarantine see that.
#[test]
fn no_page_is_lost_and_none_comes_back_before_its_flush() {
    for few in [33, 0] {
        explore(3, move || {
            with_instance(2, move |instance| {
                let [first, second] = [(); 2].map(|()| Area::owned(instance));
                instance.tunables().single_page_flush_ceiling.store(few, Ordering::Relaxed);
                instance.platform().0.speculate();
                let other = run(1, instance, move |instance| {
                    second.free(instance);
                    purge(instance, 0);
                });
                first.free(instance);
                purge(instance, 0);
                other.join().expect("as it should be");
                // Whatever was left is found by one more.
                purge(instance, 0);
            });
        });
    }
}

/// A CPU purges a list of two blocks, in one of which another CPU frees an area meanwhile: the block is not put into a
/// list again while the purge has it, or what is behind it there is lost. Two preemptions.
///
/// Seen failing: with `Pages::enlist` always saying that the block is in no list.
#[test]
fn a_block_is_in_one_list() {
    explore(2, || {
        with_instance(2, |instance| {
            let [first, second] = [(); 2].map(|()| Area::owned(instance));
            let mapped = Area::mapped(instance);
            instance.platform().0.speculate();
            let other = run(1, instance, move |instance| second.free(instance));
            mapped.unmap(instance);
            first.free(instance);
            purge(instance, 0);
            other.join().expect("as it should be");
            purge(instance, 0);
        });
    });
}

/// Two blocks pushed by one CPU: another one that takes the list finds both, or what was there. Four
/// preemptions.
///
/// Seen failing: with `List::take` relaxed; with `List::push` relaxed.
#[test]
fn who_takes_a_list_finds_all_of_it() {
    explore(4, || {
        with_instance(2, |instance| {
            let (owned, mapped) = (Area::owned(instance), Area::mapped(instance));
            let other = run(1, instance, |instance| {
                let pin = instance.platform().pin();
                for block in [0, 1].map(|number| instance.blocks().block(number, &pin)) {
                    instance.pending().push(&pin, block);
                    // Of two loads and a store loom sees no conflict if who stores has loaded last: it is told here
                    // where to look for orders, and where the list is taken.
                    instance.platform().0.step();
                }
            });
            let mut found = Vec::new();
            let mut take = || {
                instance.platform().0.step();
                let pending = instance.pending();
                pending.take_lists();
                found.extend(pending.visit(|_, block| block.number()));
            };
            take();
            other.join().expect("as it should be");
            take();
            found.sort_unstable();
            assert_eq!(found, [0, 1]);
            owned.free(instance);
            mapped.unmap(instance);
            instance.purge();
        });
    });
}
