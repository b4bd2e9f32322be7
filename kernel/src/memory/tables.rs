//! How many page tables are in use, counted while tables come and go.
//!
//! A table that was unlinked is given away when every CPU has flushed since; a CPU that looks with interrupts off
//! ([`Shootdown::look`](vmalloc::Shootdown::look)) cannot be made to before it is done. So each table is found from the
//! root anew, and read, in one look of about a thousand instructions.

use super::machine::vmalloc;
use crate::arch::{
    paging::direct_map,
    tlb::{self, Cpus},
};
use core::sync::atomic::Ordering;
use vmalloc::{Frame, Platform, Table};

const ENTRIES: usize = 512;
/// Intel SDM 3A, section 5.5.4.
const PRESENT: u64 = 1;
const MAPS_A_PAGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// Entries of a table, one bit each.
type Entries = [u64; ENTRIES / 64];

/// Counts the tables of all levels. What comes or goes meanwhile may be counted or not. Called with no lock held.
pub(crate) fn count() -> usize {
    1 + below(&mut [0; 2], 0)
}

/// How many tables are below the one to which the first `depth` entries of `path` lead, from the root.
fn below(path: &mut [usize; 2], depth: usize) -> usize {
    let tables = links(&path[..depth]);
    let count = tables.iter().map(|word| word.count_ones() as usize).sum();
    // Leaf tables have none below.
    if depth == path.len() {
        return count;
    }
    (0..ENTRIES).filter(|entry| tables[entry / 64] & 1 << (entry % 64) != 0).fold(count, |count, entry| {
        path[depth] = entry;
        count + below(path, depth + 1)
    })
}

/// The entries that link tables, in the table to which `path` leads; none if there is no such table any more.
fn links(path: &[usize]) -> Entries {
    let mut links = [0; ENTRIES / 64];
    tlb::shootdown().look(&Cpus, || {
        let root = Some(vmalloc().platform().root());
        let Some(frame) = path.iter().fold(root, |frame, &entry| linked(frame?, entry)) else { return };
        for entry in (0..ENTRIES).filter(|&entry| linked(frame, entry).is_some()) {
            links[entry / 64] |= 1 << (entry % 64);
        }
    });
    links
}

/// The table that an entry of another one links. Called in a look, in which the other one was found.
fn linked(frame: Frame, entry: usize) -> Option<Frame> {
    // SAFETY: the frame is a page table, which is read as the CPUs do, by its atomic entries. It was linked when the
    // look had begun, so it stays what it is until that is over.
    let table = unsafe { direct_map::pointer(frame).cast::<Table>().as_ref() };
    // Acquire: who linked it has filled it before.
    let entry = table[entry].load(Ordering::Acquire);
    (entry & (PRESENT | MAPS_A_PAGE) == PRESENT)
        .then(|| Frame::new((entry & ADDRESS) / ::vmalloc::PAGE_SIZE as u64))
}
