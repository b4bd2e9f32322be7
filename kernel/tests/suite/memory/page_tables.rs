//! A walk of the page tables in use, as the kernel counts them: each table is found from the root anew, and read in one
//! look, so none is followed that was given back.

use core::{array, iter};
use kernel::arch::{
    paging::{self, Mapping, direct_map},
    tlb,
};
use vmalloc::{Frame, PAGE_SHIFT};
use x86_64::{
    VirtAddr,
    registers::control::Cr3,
    structures::paging::{PageTableFlags as Flags, page_table::PageTableEntry},
};

const ENTRIES: usize = 512;

/// Calls `visit` with the first address and the mapping of every page that the tables in use map, and returns how many
/// tables there are. What comes or goes meanwhile may be missed.
pub fn walk(mut visit: impl FnMut(u64, Mapping)) -> usize {
    below(&mut [0; 3], 0, &mut visit)
}

/// Walks the table to which the first `depth` entries of `path` lead, and those below.
fn below(path: &mut [usize; 3], depth: usize, visit: &mut dyn FnMut(u64, Mapping)) -> usize {
    let Some(entries) = entries(&path[..depth]) else { return 0 };
    let mut tables = 1;
    for (slot, entry) in
        entries.iter().enumerate().filter(|(_, entry)| entry.flags().contains(Flags::PRESENT))
    {
        if depth < path.len() && linked(entry).is_some() {
            path[depth] = slot;
            tables += below(path, depth + 1, visit);
        } else {
            let slots = path[..depth].iter().copied().chain([slot]).chain(iter::repeat(0));
            let page = slots.take(4).fold(0, |page, slot| page << 9 | slot as u64);
            let level = 4 - depth as u32;
            let mapping = Mapping { physical: entry.addr().as_u64(), level, flags: entry.flags() };
            visit(VirtAddr::new_truncate(page << PAGE_SHIFT).as_u64(), mapping);
        }
    }
    tables
}

/// The entries of the table to which `path` leads from the root; `None` if there is no such table any more.
fn entries(path: &[usize]) -> Option<[PageTableEntry; ENTRIES]> {
    let mut entries = None;
    tlb::look(|| {
        let root = Some(Frame::new(Cr3::read().0.start_address().as_u64() >> PAGE_SHIFT));
        let table = path.iter().fold(root, |table, &slot| linked(&entry(table?, slot)));
        entries = table.map(|table| array::from_fn(|slot| entry(table, slot)));
    });
    entries
}

/// An entry of a table that was found in this look.
fn entry(table: Frame, slot: usize) -> PageTableEntry {
    assert!(slot < ENTRIES);
    // SAFETY: the frame is a page table until the look is over. CPUs may change the entry, so it is read once.
    unsafe { direct_map::pointer(table).cast::<PageTableEntry>().add(slot).read_volatile() }
}

/// The table that an entry of a table above the leaves links.
fn linked(entry: &PageTableEntry) -> Option<Frame> {
    let links = entry.flags().contains(Flags::PRESENT) && !entry.flags().contains(Flags::HUGE_PAGE);
    links.then(|| Frame::new(entry.addr().as_u64() >> PAGE_SHIFT))
}

/// The walk and the look-up agree.
#[test_case]
fn a_walk_finds_what_look_ups_find() {
    let here = entries as *const () as u64;
    let mut found = false;
    walk(|address, mapping| {
        if mapping.level == 1 && address == here & !0xfff {
            let alone = paging::lookup(here).expect("it runs");
            assert_eq!((mapping.physical, mapping.flags), (alone.physical, alone.flags));
            found = true;
        }
    });
    assert!(found);
}
