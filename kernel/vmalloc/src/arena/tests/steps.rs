//! What a request costs does not grow with what there is in the arena.

use super::*;

/// More than any request may look at: a leaf, 7 nodes up, 20 of the tree over the maps, 9 down.
const FEW_STEPS: u64 = 40;

/// What a request gives, and the steps it takes.
fn steps<T>(arena: &Arena, request: impl FnOnce() -> T) -> (T, u64) {
    let before = arena.stats(&SingleCpu).steps;
    let result = request();
    (result, arena.stats(&SingleCpu).steps - before)
}

#[test]
fn all_of_a_range_can_be_used_block_by_block_and_is_one_run_again() {
    let machine = Machine::new(1, 12);
    let blocks = MAP_BLOCKS + 300;
    let mut arena = new_arena(&machine, blocks, SearchPolicy::Cached);
    let mut all = 0;
    for block in 0..blocks {
        let (got, steps) = steps(&arena, || arena.allocate(&&machine, 1, 1, 0, ALL));
        assert_eq!(got, Ok(block));
        assert!(steps <= FEW_STEPS);
        all += steps;
    }
    assert!(
        (blocks..2 * blocks).contains(&(all as usize)),
        "{all} steps: most searches end where they start"
    );
    assert_eq!(arena.allocate(&&machine, 1, 1, 0, ALL), Err(AllocError::NO_SPACE));
    // Every other first, so that no two neighbours are free.
    (0..blocks).step_by(2).for_each(|block| arena.free(&SingleCpu, block, 1));
    assert_eq!(arena.stats(&SingleCpu).longest_run, 1);
    (1..blocks).step_by(2).rev().for_each(|block| arena.free(&SingleCpu, block, 1));
    assert_eq!((arena.stats(&SingleCpu).free, arena.stats(&SingleCpu).longest_run), (blocks, blocks));
    arena.state.get_mut().check();
    release(arena, &machine);
    machine.assert_all_frames_back();
}

/// Below a run of three: `holes` holes of one and two blocks, with areas of changing sizes between.
fn riddled(machine: &Machine, holes: usize, policy: SearchPolicy) -> (Arena, usize) {
    let mut random = Random::new(holes as u64);
    let blocks = 8 * holes + 10;
    let arena = full(machine, blocks, policy);
    let mut block = 0;
    for _ in 0..holes {
        block += 1 + random.below(6);
        let size = 1 + random.below(2);
        arena.free(&SingleCpu, block, size);
        block += size;
    }
    arena.free(&SingleCpu, block + 1, 3);
    (arena, block + 1)
}

#[test]
fn steps_do_not_grow_with_the_runs_and_holes_below() {
    for holes in [10, 1000, 100_000] {
        let machine = Machine::new(1, 64);
        let (arena, place) = riddled(&machine, holes, SearchPolicy::Cached);
        let (got, taken) = steps(&arena, || arena.allocate(&&machine, 3, 1, 0, ALL));
        assert_eq!(got, Ok(place));
        assert!(taken <= FEW_STEPS, "{taken} steps over {holes} holes");
        let (got, taken) = steps(&arena, || arena.allocate(&&machine, 3, 1, 0, ALL));
        assert_eq!(got, Err(AllocError::NO_SPACE));
        assert!(taken <= FEW_STEPS, "{taken} steps to find nothing over {holes} holes");
        // From anywhere, of any size, and in place.
        let mut random = Random::new(1);
        for _ in 0..2000 {
            let start = random.below(place);
            let count = 1 + random.below(3);
            let (got, taken) = steps(&arena, || arena.allocate(&&machine, count, 1, 0, start..MAX_BLOCKS));
            assert!(taken <= FEW_STEPS, "{taken} steps for {count} blocks from {start}");
            if let Ok(first) = got {
                arena.free(&SingleCpu, first, count);
            }
            let (got, taken) = steps(&arena, || arena.allocate_at(&&machine, start, count));
            assert!(taken <= FEW_STEPS, "{taken} steps in place");
            if got.is_ok() {
                arena.free(&SingleCpu, start, count);
            }
        }
    }
}

#[test]
fn steps_from_the_start_grow_with_the_holes() {
    let mut before = 0;
    for holes in [10, 1000, 20_000] {
        let machine = Machine::new(1, 64);
        let (arena, place) = riddled(&machine, holes, SearchPolicy::FromStart);
        let (got, taken) = steps(&arena, || arena.allocate(&&machine, 3, 1, 0, ALL));
        assert_eq!(got, Ok(place));
        assert!(taken as usize >= holes && taken > 10 * before, "{taken} steps over {holes} holes");
        before = taken;
    }
}

#[test]
fn steps_are_few_in_an_arena_of_32_tib() {
    let machine = Machine::new(1, MAPS + 8);
    let arena = full(&machine, MAX_BLOCKS, SearchPolicy::Cached);
    let stats = arena.stats(&SingleCpu);
    assert_eq!((stats.maps, stats.frames), (MAPS, 1 + MAPS * size_of::<usize>() / PAGE_SIZE));
    let holes: Vec<usize> = (0..MAPS).map(|map| map * MAP_BLOCKS + map % 7 * 1000).collect();
    holes.iter().for_each(|&hole| arena.free(&SingleCpu, hole, 1));
    arena.free(&SingleCpu, MAX_BLOCKS - MAP_BLOCKS - 1, 1);
    assert_eq!(holes[MAPS - 1], MAX_BLOCKS - MAP_BLOCKS + 1000);
    arena.free(&SingleCpu, MAX_BLOCKS - MAP_BLOCKS, 1);
    let mut most = 0;
    let mut allocate = |count, within| {
        let (got, taken) = steps(&arena, || arena.allocate(&&machine, count, 1, 0, within));
        most = most.max(taken);
        got.ok()
    };
    // Two maps end and begin with a free block.
    assert_eq!(allocate(3, ALL), None);
    assert_eq!(allocate(2, ALL), Some(MAX_BLOCKS - MAP_BLOCKS - 1));
    assert_eq!(allocate(2, ALL), None);
    for &hole in &holes {
        assert_eq!(allocate(1, hole..MAX_BLOCKS), Some(hole));
    }
    assert_eq!(allocate(1, ALL), None);
    assert!(most <= FEW_STEPS, "{most} steps");
    arena.free(&SingleCpu, 0, MAX_BLOCKS);
    assert_eq!(arena.stats(&SingleCpu).longest_run, MAX_BLOCKS);
    release(arena, &machine);
    machine.assert_all_frames_back();
}

/// A search in a map looks at a node of each level, and at a leaf.
#[test]
fn a_step_is_counted_for_each_level_of_a_map() {
    let machine = Machine::new(1, 12);
    let map = Map::take(&&machine).expect("a frame");
    for (steps_before, count) in [(0, 1), (5, 3), (5, MAP_BLOCKS)] {
        let mut steps = steps_before;
        assert_eq!(map.find_in(1, count, &mut steps), 0);
        // A run that crosses the halves is found at the top.
        assert_eq!(steps - steps_before, if count == MAP_BLOCKS { 1 } else { 8 });
    }
    let mut steps = 0;
    assert_eq!(map.find_above(0, LEAF_BLOCKS, MAP_BLOCKS + 1, &mut steps), Err(MAP_BLOCKS));
    assert_eq!(steps, 7, "at each level there is a neighbour");
    map.release(&&machine);
    machine.assert_all_frames_back();
}

/// Most searches end in the leaf where they start, at the first look.
///
/// Seen failing where `take_at_start` does not count its step, or does not note where the next search starts.
#[test]
fn one_after_the_other_is_found_in_a_step() {
    for count in [1, 2, 4] {
        let machine = Machine::new(1, 12);
        let arena = new_arena(&machine, MAP_BLOCKS + 300, SearchPolicy::Cached);
        let searches = MAP_BLOCKS / count;
        let (_, all) = steps(&arena, || {
            for search in 0..searches {
                assert_eq!(arena.allocate(&&machine, count, 1, 0, ALL), Ok(search * count));
            }
        });
        assert!((searches..searches * 9 / 8).contains(&(all as usize)), "{all} steps of {searches} searches");
        // The last place of a range is no worse.
        arena.allocate(&&machine, 1, 1, 0, ALL).expect("room");
        let last = MAP_BLOCKS + 1;
        let (got, taken) = steps(&arena, || arena.allocate(&&machine, count, 1, 0, last..last + count));
        assert_eq!((got, taken), (Ok(last), 1));
    }
}

/// A search that begins in the leaf that changed last ends there, wherever in the arena that is, up to the end of its range.
///
/// Seen failing with another map looked at, and with a range whose last block is left to a longer search.
#[test]
fn a_search_needs_no_tree_in_the_leaf_that_changed_last() {
    let machine = Machine::new(1, 12);
    let mut arena = new_arena(&machine, 3 * MAP_BLOCKS, SearchPolicy::Cached);
    for first in [0, 5, LEAF_BLOCKS, MAP_BLOCKS + 7, 2 * MAP_BLOCKS + 3 * LEAF_BLOCKS] {
        assert_eq!(arena.allocate_at(&&machine, first, 1), Ok(()));
        let (state, within) = (arena.state.get_mut(), first..first + 3);
        assert_eq!(state.take_at_start(2, 1, &within), Some(first + 1));
        assert_eq!(state.take_at_start(1, 1, &within), None, "it is full");
        state.check();
        arena.free(&SingleCpu, first, 3);
    }
    release(arena, &machine);
    machine.assert_all_frames_back();
}

/// Seen failing with a map that nobody uses taken for longer than it is.
#[test]
fn a_run_goes_on_into_the_next_map_only_where_that_is_free() {
    let machine = Machine::new(1, 12);
    let arena = new_arena(&machine, 3 * MAP_BLOCKS, SearchPolicy::Cached);
    assert_eq!(arena.allocate_at(&&machine, MAP_BLOCKS, 5), Ok(()));
    let (got, taken) = steps(&arena, || arena.allocate(&&machine, MAP_BLOCKS, 1, 0, 3..3 * MAP_BLOCKS));
    assert_eq!(got, Ok(MAP_BLOCKS + 5));
    assert_eq!(
        taken, 21,
        "twice, as a map is made between: a look here, up the next map, and at the third one"
    );
    arena.free(&SingleCpu, MAP_BLOCKS + 5, MAP_BLOCKS);
    // From the start all of the first map fits.
    assert_eq!(arena.allocate(&&machine, MAP_BLOCKS, 1, 0, ALL), Ok(0));
}

/// Who searches from the start passes all that is used below.
#[test]
fn a_search_from_the_start_passes_each_leaf() {
    let machine = Machine::new(1, 12);
    let arena = full(&machine, MAP_BLOCKS, SearchPolicy::FromStart);
    arena.free(&SingleCpu, MAP_BLOCKS - 3, 3);
    let (got, taken) = steps(&arena, || arena.allocate(&&machine, 3, 1, 0, ALL));
    assert_eq!(got, Ok(MAP_BLOCKS - 3));
    assert!(taken as usize >= LEAVES, "{taken} steps");
}

/// Of searches from the start each passes the holes again, however close they follow each other.
///
/// Seen failing with a search that begins where the lowest free block is.
#[test]
fn each_search_from_the_start_passes_the_holes_again() {
    const HOLES: usize = 50;
    let machine = Machine::new(1, 12);
    let arena = full(&machine, LEAF_BLOCKS, SearchPolicy::FromStart);
    (0..HOLES).for_each(|hole| arena.free(&SingleCpu, 2 * hole, 1));
    arena.free(&SingleCpu, 110, 8);
    let (_, taken) = steps(&arena, || {
        for place in [110, 112, 114, 116] {
            assert_eq!(arena.allocate(&&machine, 2, 1, 0, ALL), Ok(place));
        }
    });
    assert!(taken as usize >= 4 * HOLES, "{taken} steps");
}

/// A search of many bases lets others have the lock between.
#[test]
fn a_long_search_is_cut_into_pieces() {
    let machine = Machine::new(1, 12);
    let mut arena = full(&machine, MAP_BLOCKS, SearchPolicy::Cached);
    (0..MAP_BLOCKS).step_by(2).for_each(|block| arena.free(&SingleCpu, block, 1));
    // Of no base both are free.
    let parts = [Part { offset: 0, count: 1 }, Part { offset: 1, count: 1 }];
    let wanted = Wanted { parts: &parts, align: 1, offset: 0, within: ALL };
    let state = arena.state.get_mut();
    let (mut from, mut pieces) = (0, 0);
    while let Search::Onward(next) = state.find(&wanted, from) {
        assert!(next > from && next - from <= 100, "a piece of {} blocks", next - from);
        (from, pieces) = (next, pieces + 1);
    }
    assert!(pieces > MAP_BLOCKS / 200, "{pieces} pieces");
}

/// The tree over the maps finds what a look at each finds, and counts a step for each node.
///
/// Seen failing with the nodes on the way down not counted.
#[test]
fn the_first_map_with_enough_is_found() {
    let machine = Machine::new(1, 4);
    let mut random = Random::new(9);
    for maps in [2, 3, 8, 100] {
        let mut top = Top::new(&&machine, maps).expect("a frame");
        let values: Vec<u16> = (0..maps).map(|_| random.below(20) as u16).collect();
        values.iter().enumerate().for_each(|(map, &value)| top.set(map, value));
        let depth = maps.next_power_of_two().ilog2() as u64;
        for (from, wanted) in (0..maps).flat_map(|from| (1..22).map(move |wanted| (from, wanted))) {
            let mut steps = 0;
            let found = top.next(from, wanted, &mut steps);
            assert_eq!(found, (from..maps).find(|&map| values[map] >= wanted), "{wanted} from {from}");
            if found == Some(from) {
                assert_eq!(steps, 1, "it is the first");
            }
            assert!((1..=2 * depth + 1).contains(&steps), "{steps} steps");
        }
        // Over the root's left half, and down its right one.
        top.set(0, 1);
        (1..maps).for_each(|map| top.set(map, 0));
        top.set(maps - 1, 5);
        let mut steps = 0;
        assert_eq!(top.next(0, 5, &mut steps), Some(maps - 1));
        assert_eq!(steps, 2 * depth, "through {maps} maps");
        // SAFETY: it is used no more.
        unsafe { top.release(&&machine) };
    }
    machine.assert_all_frames_back();
}
