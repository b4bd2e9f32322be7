//! Bump runs in every interleaving of two CPUs.

extern crate std;

use super::Bump;
use crate::{page_table::slot::Slots, tests::interleavings::explore};
use loom::{sync::Arc, thread};
use std::{boxed::Box, vec::Vec};

/// A CPU puts pages into its bump run and hands them out, twice, while another takes all away that it finds: each page
/// goes to one of them, with its own leaf table, and none is lost. Four preemptions.
///
/// Seen failing: with the pages taken by a load and a store; with all taken away by a load and a store.
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
            all.into_iter().flatten().flat_map(|(page, count)| page..page + count).collect::<Vec<_>>()
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
            if let Some((page, count)) = bump.take_all() {
                pages.extend(page..page + count);
            }
        }
        pages.extend(other.join().expect("as it should be"));
        pages.sort_unstable();
        assert_eq!(pages, [0, 1, 2, 3, 4, 5]);
    });
}
