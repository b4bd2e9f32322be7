//! Frames run out in the middle of a call on a congruent set: what it had begun is undone.

use super::*;

/// Two areas that begin in different blocks, the second of which has pages in two.
fn areas() -> [CongruentArea; 2] {
    [area(0, 3), area(2, BLOCK_PAGES + 5)]
}

/// Seen failing with tables that stay where a later one is refused.
#[test]
fn a_set_without_frames_for_all_tables_leaves_none() {
    for granted in 0.. {
        let machine = Machine::new(1, 400);
        let vmalloc = instance(&machine, BLOCKS);
        let before = vmalloc.stats();
        machine.fail_after(granted);
        let set = vmalloc.allocate_congruent(&areas(), 1);
        machine.never_fail();
        let Err(error) = set else {
            assert!(granted > 3, "three tables and a descriptor need frames");
            break;
        };
        let CongruentError::Refused(error) = error else { panic!("{error}") };
        assert_eq!(error.reason(), AllocError::NO_FRAMES);
        let after = vmalloc.stats();
        assert_eq!((after.leaf_tables, after.free), (before.leaf_tables, before.free), "{granted} frames");
        assert_balance(&machine, vmalloc);
    }
}

/// Pages for which there were no frames can be populated when there are. Those that a CPU may reach from before go back
/// after a flush only.
///
/// Seen failing with pages that stay live, and with pages that are given back at once.
#[test]
fn pages_that_were_refused_are_populated_later() {
    for is_used in [false, true] {
        let machine = Machine::new(2, 2000);
        let vmalloc = instance(&machine, BLOCKS);
        let set = vmalloc.allocate_congruent(&areas(), 1).expect("room");
        if is_used {
            populate(&vmalloc, set, 0..3).expect("frames enough");
            (0..2).for_each(|cpu| machine.write(cpu, START, 7).expect("mapped"));
            depopulate(&vmalloc, set, 0..3).expect("populated");
        }
        machine.fail_after(8);
        // Fewer frames than pages, whether or not some are there from before.
        let refused = populate(&vmalloc, set, 0..20);
        assert!(matches!(refused, Err(PopulateError::OutOfFrames { .. })), "{refused:?}");
        machine.check();
        machine.never_fail();
        populate(&vmalloc, set, 0..20).expect("frames enough");
        assert!(machine.write(0, START, 8).is_ok() && machine.read(1, START) == Ok(8));
        machine.check();
        free_set(&vmalloc, set).expect("allocated");
        assert_balance(&machine, vmalloc);
    }
}

/// Seen failing with one area less.
#[test]
fn a_set_has_as_many_areas_as_it_may() {
    let machine = Machine::new(1, 400);
    let vmalloc = instance(&machine, 2 * MAX_CONGRUENT);
    let all: Vec<_> = (0..=MAX_CONGRUENT).map(|index| area(index, 1)).collect();
    let refused = vmalloc.allocate_congruent(&all, 1);
    assert_eq!(refused.err(), Some(CongruentError::BadCount { count: MAX_CONGRUENT + 1 }));
    let set = vmalloc.allocate_congruent(&all[1..], 1).expect("room");
    assert_eq!(vmalloc.areas().count(), MAX_CONGRUENT);
    free_set(&vmalloc, set).expect("allocated");
    assert_balance(&machine, vmalloc);
}
