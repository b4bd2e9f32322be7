//! A block's pages freed by several CPUs while others purge: none is lost, none comes back early.

use crate::{
    ahead::Ahead,
    atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence},
    list::{List, NONE},
    machine::explore,
    pages::Pages,
    platform::Table,
    shootdown::{Shootdown, Stamp},
};
use core::{mem, ptr};
use loom::{
    sync::{Arc, Mutex},
    thread,
};

/// One block, and the lists of two CPUs.
struct Block {
    pages: Mutex<Pages>,
    link: AtomicU32,
    lists: [List; 2],
    /// The purge's turn.
    turn: Mutex<()>,
    /// Of all purges: their flushes are complete.
    stamp: Stamp,
    /// Which of the two pages are unmapped, and which a flush has reached.
    unmapped: AtomicU64,
    flushed: AtomicU64,
}

impl Block {
    /// A block of which pages 0 and 1 are allocated.
    fn new() -> Arc<Self> {
        let mut pages = Pages::new();
        assert_eq!((pages.take(1, 1), pages.take(1, 1)), (Some(0), Some(1)));
        Arc::new(Self {
            pages: Mutex::new(pages),
            link: AtomicU32::new(NONE),
            lists: [(); 2].map(|()| List::from_first(AtomicU32::new(NONE))),
            turn: Mutex::new(()),
            stamp: Shootdown::new().stamp(),
            unmapped: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
        })
    }

    /// As `Vmalloc::retire_pages`: CPU `cpu` frees page `cpu`.
    fn retire(&self, cpu: usize) {
        self.unmapped.fetch_or(1 << cpu, Ordering::Relaxed);
        let mut pages = self.pages.lock().expect("held by nobody that panicked");
        pages.retire(cpu, 1);
        let listed = mem::replace(&mut pages.lazy, true);
        drop(pages);
        if !listed {
            self.lists[cpu].push(0, &self.link);
        }
    }

    /// As `Vmalloc::purge_now`, by CPU `cpu`; the flush reaches what is unmapped when it begins.
    fn purge(&self, cpu: usize) {
        let _turn = self.turn.lock().expect("held by nobody that panicked");
        let taken =
            [0, 1].map(|list| if self.lists[list].is_empty() { NONE } else { self.lists[list].take() });
        assert!(!taken.iter().all(|&first| first == 0), "the block was in two lists");
        if taken.iter().all(|&first| first == NONE) {
            return;
        }
        assert_eq!(self.link.load(Ordering::Relaxed), NONE, "it is alone");
        self.pages.lock().expect("held by nobody that panicked").begin_flush(self.stamp);
        fence(Ordering::SeqCst);
        let reached = self.unmapped.load(Ordering::Relaxed);
        self.flushed.fetch_or(reached, Ordering::Relaxed);
        let mut pages = self.pages.lock().expect("held by nobody that panicked");
        pages.end_flush(|_| true);
        for page in [0, 1].into_iter().filter(|&page| pages.is_free(page)) {
            assert_ne!(
                reached >> page & 1 | self.flushed.load(Ordering::Relaxed) >> page & 1,
                0,
                "too early"
            );
        }
        let waits = pages.stale() > 0;
        pages.lazy = waits;
        drop(pages);
        if waits {
            self.lists[cpu].push(0, &self.link);
        }
    }
}

/// Two CPUs free a page each in one block, and both purge. Four preemptions.
///
/// Seen failing: with `lazy` cleared without a look at what is dirty (a page is lost); with a push
/// whatever `lazy` says (the block is in two lists); with `end_flush` making dirty pages free too.
pub fn no_page_is_lost_and_none_comes_back_before_its_flush() {
    explore(4, || {
        let block = Block::new();
        let theirs = Arc::clone(&block);
        let other = thread::spawn(move || {
            theirs.retire(1);
            theirs.purge(1);
        });
        block.retire(0);
        block.purge(0);
        other.join().expect("as it should be");
        // Whatever was left is found by one more.
        block.purge(0);
        let pages = block.pages.lock().expect("held by nobody that panicked");
        assert_eq!((pages.free(), pages.stale(), pages.lazy), (512, 0, false));
    });
}

/// Two blocks pushed by one CPU: another one that takes the list finds both, or what was there. Four
/// preemptions.
///
/// Seen failing: with `take` relaxed; with `push` relaxed.
pub fn who_takes_a_list_finds_all_of_it() {
    explore(4, || {
        let links = Arc::new([(); 2].map(|()| AtomicU32::new(NONE)));
        let list = Arc::new(List::from_first(AtomicU32::new(NONE)));
        let (their_links, their_list) = (Arc::clone(&links), Arc::clone(&list));
        let other = thread::spawn(move || {
            (0..2).for_each(|block| their_list.push(block, &their_links[block as usize]));
        });
        let mut found = [0; 2];
        let mut take = || {
            let mut next = list.take();
            while next != NONE {
                found[next as usize] += 1;
                next = links[next as usize].load(Ordering::Relaxed);
            }
        };
        take();
        other.join().expect("as it should be");
        take();
        assert_eq!(found, [1, 1]);
    });
}

/// A CPU puts pages ahead and hands them out, twice, while another takes all away that it finds: each page goes
/// to one of them, and none is lost. Four preemptions.
///
/// Seen failing: with the pages taken by a load and a store; with all taken away by a load and a store.
pub fn each_page_taken_ahead_goes_to_one_cpu() {
    static LEAF: Table = Table;
    explore(4, || {
        let ahead = Arc::new(Ahead::from_parts(AtomicU64::new(0), AtomicPtr::new(ptr::null_mut())));
        let theirs = Arc::clone(&ahead);
        let other = thread::spawn(move || {
            let mut pages = 0;
            for _ in 0..2 {
                if let Some((page, count)) = theirs.take_all() {
                    pages += (page..page + count).map(|page| 1_u64 << (8 * page)).sum::<u64>();
                }
            }
            pages
        });
        let mut pages = 0;
        for first in [0, 3] {
            ahead.put(first, 3, &LEAF);
            for count in [2, 1] {
                if let Some((page, _)) = ahead.take(count) {
                    pages += (page..page + count).map(|page| 1 << (8 * page)).sum::<u64>();
                }
            }
            if let Some((page, count)) = ahead.take_all() {
                pages += (page..page + count).map(|page| 1 << (8 * page)).sum::<u64>();
            }
        }
        pages += other.join().expect("as it should be");
        // A count for each page.
        assert_eq!(pages, 0x0101_0101_0101);
    });
}
