//! What a search finds, and what it leaves alone.

extern crate std;

use super::*;

/// A cache not invalidated by a lower start. Put back by raising `search_start` for every
/// search of one block: fails.
#[test]
fn a_search_above_the_cached_start_does_not_raise_it() {
    let machine = Machine::new(1, 12);
    let arena = new_arena(&machine, 1000, SearchPolicy::Cached);
    assert_eq!(arena.allocate(&&machine, 1, 1, 0, 500..1000), Ok(500));
    assert_eq!(arena.allocate(&&machine, 1, 1, 0, 500..1000), Ok(501));
    assert_eq!(arena.allocate(&&machine, 1, 1, 0, ALL), Ok(0));
    assert_eq!(arena.allocate(&&machine, 1, 1, 0, 300..400), Ok(300));
    assert_eq!(arena.allocate(&&machine, 1, 1, 0, ALL), Ok(1));
}

/// A cache not invalidated by a smaller alignment or a shorter run. Put back by raising
/// `search_start` to the aligned block, and for any count: fails.
#[test]
fn what_is_too_short_or_not_aligned_is_found_by_the_next() {
    let machine = Machine::new(1, 12);
    let mut arena = full(&machine, 1000, SearchPolicy::Cached);
    arena.free(&SingleCpu, 5, 1);
    arena.free(&SingleCpu, 7, 2);
    arena.free(&SingleCpu, 61, 6);
    assert_eq!(arena.allocate(&&machine, 4, 1, 0, ALL), Ok(61));
    assert_eq!(arena.allocate(&&machine, 1, 8, 0, ALL), Ok(8));
    assert_eq!(arena.allocate(&&machine, 1, 8, 1, ALL), Ok(7));
    assert_eq!(arena.allocate(&&machine, 1, 64, 0, ALL), Err(AllocError::NO_SPACE));
    assert_eq!(arena.allocate(&&machine, 1, 1, 0, ALL), Ok(5));
    assert_eq!(arena.allocate(&&machine, 3, 1, 0, ALL), Err(AllocError::NO_SPACE));
    assert_eq!(arena.allocate(&&machine, 1, 1, 0, ALL), Ok(65));
    arena.state.get_mut().check();
    arena.free(&SingleCpu, 0, 1);
    assert_eq!(arena.allocate(&&machine, 1, 1, 0, 1..1000), Ok(66));
    assert_eq!(arena.allocate(&&machine, 1, 1, 0, ALL), Ok(0));
}

/// Alignment of more than a unit, forgotten when a hole is compared; off by one.
#[test]
fn an_aligned_run_needs_its_padding_too() {
    for align in [2, 4, 64, 128, 256, 4096] {
        for offset in [0, 1, align - 1] {
            let machine = Machine::new(1, 12);
            let arena = full(&machine, 40_000, SearchPolicy::Cached);
            let place = 3 * align - offset;
            // One too short at the place, then one that fits at the next but one.
            arena.free(&SingleCpu, place - 1, align);
            let wanted = place + 2 * align;
            arena.free(&SingleCpu, wanted - (align - 1), 2 * align - 1);
            assert_eq!(arena.allocate(&&machine, align + 1, align, offset, ALL), Err(AllocError::NO_SPACE));
            assert_eq!(arena.allocate(&&machine, align, align, offset, ALL), Ok(wanted));
            assert_eq!(arena.allocate(&&machine, align - 1, align, offset, ALL), Ok(place));
            arena.free(&SingleCpu, wanted, align);
            let short = 0..wanted + align - 1;
            assert_eq!(arena.allocate(&&machine, align, align, offset, short), Err(AllocError::NO_SPACE));
        }
    }
}

/// Sizes, alignments and ranges that overflow, wrap or are empty.
#[test]
fn impossible_requests_are_refused_and_change_nothing() {
    let machine = Machine::new(1, 12);
    for policy in [SearchPolicy::Cached, SearchPolicy::FromStart] {
        let mut arena = new_arena(&machine, 1000, policy);
        assert_eq!(arena.allocate(&&machine, 3, 1, 0, ALL), Ok(0));
        let before = arena.stats(&SingleCpu).free;
        let top = 1 << 63;
        #[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
        for (count, align, offset, within) in [
            (0, 1, 0, ALL),
            (usize::MAX, 1, 0, ALL),
            (usize::MAX, 1, 0, 0..usize::MAX),
            (usize::MAX - 2, 1, 0, 3..usize::MAX),
            (1001, 1, 0, 0..usize::MAX),
            (998, 1, 0, 0..usize::MAX),
            (1, 1, 0, 5..5),
            (1, 1, 0, 7..5),
            (1, 1, 0, usize::MAX..usize::MAX),
            (1, 1, 0, usize::MAX..0),
            (1, 1, 0, 1000..usize::MAX),
            (1, top, 0, 1..usize::MAX),
            (1, top, top - 1, 2..usize::MAX),
            (1, top, usize::MAX, 2..usize::MAX),
            (1, 1024, 0, 1..usize::MAX),
        ] {
            let result = arena.allocate(&&machine, count, align, offset, within.clone());
            assert_eq!(
                result,
                Err(AllocError::NO_SPACE),
                "{count} blocks, align {align}+{offset}, {within:?}"
            );
        }
        for (first, count) in
            [(5, 0), (usize::MAX, 1), (1, usize::MAX), (usize::MAX, usize::MAX), (1000, 1), (999, 2)]
        {
            assert_eq!(arena.allocate_at(&&machine, first, count), Err(AllocError::NO_SPACE));
        }
        assert_eq!(arena.stats(&SingleCpu).free, before);
        arena.state.get_mut().check();
        // Great alignments that can be had.
        assert_eq!(arena.allocate(&&machine, 1, top, top - 10, 0..usize::MAX), Ok(10));
        assert_eq!(arena.allocate(&&machine, 1, 4, usize::MAX, 0..usize::MAX), Ok(5));
    }
    let none = new_arena(&machine, 0, SearchPolicy::Cached);
    assert_eq!(none.allocate(&&machine, 1, 1, 0, ALL), Err(AllocError::NO_SPACE));
    assert_eq!((none.stats(&SingleCpu).longest_run, none.next_used(&SingleCpu, 0)), (0, None));
}

#[test]
fn exactly_these_blocks_are_taken_or_none() {
    let machine = Machine::new(1, 12);
    let mut arena = new_arena(&machine, 3 * MAP_BLOCKS, SearchPolicy::Cached);
    let frames = machine.free_frames();
    // Growth in place, block by block and over the end of a map.
    assert_eq!(arena.allocate(&&machine, 2, 1, 0, ALL), Ok(0));
    assert_eq!(arena.allocate_at(&&machine, 2, 1), Ok(()));
    assert_eq!(arena.allocate_at(&&machine, 2, 1), Err(AllocError::NO_SPACE));
    assert_eq!(arena.allocate_at(&&machine, 3, 200), Ok(()));
    assert_eq!(arena.state.get_mut().search_start, 203, "the cached start has followed");
    assert_eq!(arena.allocate(&&machine, 1, 1, 0, ALL), Ok(203));
    assert_eq!(arena.allocate_at(&&machine, 150, 1000), Err(AllocError::NO_SPACE));
    assert_eq!(arena.allocate_at(&&machine, MAP_BLOCKS - 1, 2), Ok(()));
    for (first, count, fits) in [
        (204, MAP_BLOCKS - 204, false),
        (204, MAP_BLOCKS - 205, true),
        (MAP_BLOCKS + 1, 2 * MAP_BLOCKS, false),
        (MAP_BLOCKS, 1, false),
        (MAP_BLOCKS + 1, 2 * MAP_BLOCKS - 1, true),
    ] {
        let expected = if fits { Ok(()) } else { Err(AllocError::NO_SPACE) };
        assert_eq!(arena.allocate_at(&&machine, first, count), expected, "{count} blocks at {first}");
        arena.state.get_mut().check();
    }
    assert_eq!(arena.stats(&SingleCpu).free, 0);
    arena.free(&SingleCpu, 0, 3 * MAP_BLOCKS);
    arena.release_free_maps(&&machine);
    // No frame: an error, and nothing has changed.
    machine.fail_after(0);
    assert_eq!(arena.allocate_at(&&machine, 9, 1), Err(AllocError::NO_FRAMES));
    assert_eq!((arena.stats(&SingleCpu).free, machine.free_frames()), (3 * MAP_BLOCKS, frames));
}

#[test]
fn used_blocks_are_found_one_after_the_other() {
    let machine = Machine::new(1, 12);
    let arena = new_arena(&machine, 3 * MAP_BLOCKS, SearchPolicy::Cached);
    let used = [3, 4, 127, 128, 900, 5000, MAP_BLOCKS - 1, 2 * MAP_BLOCKS + 1, 3 * MAP_BLOCKS - 1];
    used.iter().for_each(|&block| assert_eq!(arena.allocate_at(&&machine, block, 1), Ok(())));
    let mut found = Vec::new();
    while let Some(block) = arena.next_used(&SingleCpu, found.last().map_or(0, |last| last + 1)) {
        found.push(block);
    }
    assert_eq!(found, used);
    assert_eq!(arena.next_used(&SingleCpu, usize::MAX), None);
}
