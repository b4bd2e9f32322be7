//! Bump runs in every interleaving of two CPUs.

extern crate std;

use super::Bump;
use crate::{page_table::slot::Slots, tests::interleavings::explore};
use core::ops::Range;
use loom::{sync::Arc, thread};
use std::{boxed::Box, vec::Vec};

/// The pages of a run, of which there are some.
fn run((page, count): (usize, usize)) -> Range<usize> {
    assert_ne!(count, 0, "a run of no pages");
    page..page + count
}

/// A CPU puts pages into its bump run and hands them out, twice, while another takes all away that it finds: each page
/// goes to one of them, with its own leaf table, and none is lost. Who comes too late finds none, and not a run of none: the
/// block may be closed by then. Four preemptions.
///
/// Seen failing: with the pages taken by a load and a store; with all taken away by a load and a store; with no look at how
/// many were taken away.
#[test]
fn each_page_of_a_bump_run_goes_to_one_cpu() {
    explore(4, || {
        // SAFETY: a table of zeros is one of unused entries.
        let leaf = || unsafe { Box::<Slots>::new_zeroed().assume_init() };
        let leaves = [leaf(), leaf()];
        let bump = Arc::new(Bump::new());
        let theirs = Arc::clone(&bump);
        let other = thread::spawn(move || {
            let all = [(); 2].map(|()| theirs.take_all());
            all.into_iter().flatten().flat_map(run).collect::<Vec<_>>()
        });
        let mut pages = Vec::new();
        for (first, leaf) in [0, 3].into_iter().zip(&leaves) {
            bump.put(first, 3, leaf);
            for count in [2, 1] {
                if let Some((page, its)) = bump.take(count) {
                    assert!(core::ptr::eq(its, &raw const **leaf), "the leaf table of other pages");
                    pages.extend(page..page + count);
                }
            }
            pages.extend(bump.take_all().into_iter().flat_map(run));
        }
        pages.extend(other.join().expect("as it should be"));
        pages.sort_unstable();
        assert_eq!(pages, [0, 1, 2, 3, 4, 5]);
    });
}
