//! Ranges in which something is mapped already.

extern crate std;

use crate::{
    BLOCK_SIZE, Frame, NewError, PAGE_SIZE, Platform, Protection, Vmalloc,
    page_table::{Entry, Slot, Slots, directories},
    tests::{
        machine::{Machine, Random},
        support::{START, address, free, instance},
    },
};
use core::ops::Range;

const GIB: usize = 1 << 30;

/// A present entry, of a page where it stands in a leaf table, else of a table.
const FRAME: Frame = Frame::new(0x1234);

fn make(machine: &Machine, range: Range<usize>) -> Result<(), NewError> {
    // SAFETY: simulated memory.
    unsafe { Vmalloc::new(machine, range) }.map(drop)
}

/// The slots of a table that a slot links, which is made if there is none.
fn below<'m>(machine: &'m &'m Machine, slot: &Slot) -> &'m Slots {
    if !slot.is_present() {
        slot.set(Entry::table(machine.take_table().expect("enough")));
    }
    // SAFETY: it is a table.
    unsafe { directories::table(machine, slot.get().frame()) }
}

/// The slots that map an address: of 1 GiB, 2 MiB, 4 KiB.
fn slots<'m>(machine: &'m &'m Machine, address: usize) -> [&'m Slot; 3] {
    let at = |shift: u32| address >> shift & 511;
    // SAFETY: it is a table.
    let root = unsafe { directories::table(machine, machine.root()) };
    let upper = below(machine, &root[at(39)]);
    let lower = below(machine, &upper[at(30)]);
    let leaf = below(machine, &lower[at(21)]);
    [&upper[at(30)], &lower[at(21)], &leaf[at(12)]]
}

/// Pages of all sizes at both ends, right outside, and at random places. Seen failing with a survey that passes over large
/// pages, and (a panic when the directory is given back) over leaf tables that hold nothing.
#[test]
fn a_range_with_a_page_of_any_size_in_it_is_refused() {
    let mut random = Random::new(31);
    for round in 0..400 {
        let machine = Machine::new(1, 600);
        let machine = &machine;
        let start = 0xffff_c900_0000_0000 + random.below(3000) * BLOCK_SIZE;
        let longest = random.pick(&[1, 40, 1200, 700_000]);
        let range = start..start + (1 + random.below(longest)) * BLOCK_SIZE;
        let page = match round % 4 {
            0 => range.start,
            1 => range.end - PAGE_SIZE,
            _ => range.start + random.below(range.len() / PAGE_SIZE) * PAGE_SIZE,
        };
        let level = random.below(3);
        let size = [GIB, BLOCK_SIZE, PAGE_SIZE][level];
        let entry = match level {
            2 => [Entry::table(FRAME).0, 1 << 62, 2][random.below(3)],
            _ => Entry::table(FRAME).0 | 1 << 7,
        };
        let slot = slots(&machine, page)[level];
        let before = slot.get();
        slot.set(Entry(entry));
        let first = (page & !(size - 1)).max(range.start);
        assert_eq!(make(machine, range.clone()), Err(NewError::InUse { address: first, entry }), "{round}");
        if level > 0 && first > range.start {
            assert_eq!(
                make(machine, range.start..first & !(BLOCK_SIZE - 1)).is_ok(),
                first - start >= BLOCK_SIZE
            );
        }
        let behind = (page & !(size - 1)) + size;
        let behind = behind.next_multiple_of(BLOCK_SIZE);
        if behind < range.end {
            assert_eq!(make(machine, behind..range.end), Ok(()), "what lies below is not looked at");
        }
        slot.set(before);
        // There is a leaf table, which would be in the library's way.
        let leaf = slots(&machine, page)[1];
        let (address, entry) = ((page & !(BLOCK_SIZE - 1)).max(range.start), leaf.get().0);
        assert_eq!(make(machine, range.clone()), Err(NewError::InUse { address, entry }), "{round}");
        leaf.set(Entry(0));
        assert_eq!(make(machine, range), Ok(()), "other empty tables do not count");
    }
}

#[test]
fn a_second_instance_over_a_range_waits_until_the_first_is_dropped() {
    let machine = Machine::new(1, 3000);
    let first = instance(&machine, 64);
    let range = first.range().clone();
    let areas = [1, 3, 600].map(|pages| first.vmalloc(pages * PAGE_SIZE).expect("room"));
    let in_use = |expected: usize| {
        let refused = make(&machine, range.clone());
        assert!(
            matches!(refused, Err(NewError::InUse { address, .. }) if address == expected),
            "{refused:x?}"
        );
    };
    in_use(address(areas[0]));
    areas.into_iter().for_each(|area| free(&first, area).expect("allocated"));
    // What is parked or cached is not mapped, but its frames are in the entries.
    in_use(address(areas[0]));
    drop(first);
    assert_eq!(make(&machine, range.clone()), Ok(()));
    machine.assert_all_frames_back();
    let second = instance(&machine, 64);
    let frames = [machine_frame(&machine)];
    let lost = second.vmap(&frames, Protection::ReadWrite).expect("room");
    drop(second);
    in_use(address(lost));
    assert_eq!(make(&machine, START + BLOCK_SIZE..range.end), Ok(()));
}

fn machine_frame(machine: &Machine) -> Frame {
    crate::tests::support::take(machine, 1)[0]
}

/// The whole of what an instance can have, with tables in it, costs the machine as many looks as there are tables.
#[test]
fn a_refusal_takes_nothing() {
    let machine = Machine::new(1, 100);
    let machine = &machine;
    let range = 0xffff_c900_0000_0000..0xffff_e900_0000_0000_usize;
    slots(&machine, range.end - PAGE_SIZE)[2].set(Entry(2));
    let free = machine.free_frames();
    let refused = NewError::InUse { address: range.end - PAGE_SIZE, entry: 2 };
    assert_eq!(make(machine, range), Err(refused.clone()));
    assert_eq!(machine.free_frames(), free);
    let text = "0xffffe8fffffff000 is in use: its page table entry is 0x2; an instance needs a range that nobody uses";
    assert_eq!(std::format!("{refused}"), text);
}
