//! Placements of congruent runs equal those of a naive search: every base, every block.

use super::*;

/// Takes the parts at the lowest base at which all are free.
fn congruent(
    arena: &Arena,
    machine: &Machine,
    parts: &[Part],
    align: usize,
    offset: usize,
) -> Result<usize, AllocError> {
    arena.take(&machine, &Wanted { parts, align, offset, within: ALL })
}

/// The lowest base at which all parts are free, by trying each.
fn lowest_base(used: &[bool], parts: &[Part], align: usize, offset: usize) -> Option<usize> {
    let fits = |base: usize| {
        parts.iter().all(|part| {
            let first = base + part.offset;
            used.get(first..first + part.count).is_some_and(|blocks| !blocks.contains(&true))
        })
    };
    (0..used.len()).filter(|base| (base + offset).is_multiple_of(align)).find(|&base| fits(base))
}

/// Up to `most` parts of up to `longest` blocks, with gaps of up to `gap`.
fn random_parts(random: &mut Random, most: usize, longest: usize, gap: usize) -> Vec<Part> {
    let mut free = random.below(gap + 1);
    (0..=random.below(most))
        .map(|_| {
            let part = Part { offset: free, count: 1 + random.below(longest) };
            free = part.offset + part.count + random.below(gap + 1);
            part
        })
        .collect()
}

fn mark(used: &mut [bool], base: usize, parts: &[Part], to: bool) {
    for part in parts {
        used[base + part.offset..base + part.offset + part.count].fill(to);
    }
}

/// Requests against the model in an arena that is more or less full of single blocks. Seen failing when the
/// parts that fitted are not looked at again after a move, when a move goes one block too far, and when it
/// forgets the alignment.
fn compare(blocks: usize, around: Range<usize>, rounds: usize, seed: u64) {
    let machine = Machine::new(1, 12);
    let arena = new_arena(&machine, blocks, SearchPolicy::Cached);
    let mut random = Random::new(seed);
    let mut used = vec![false; blocks];
    let mut live: Vec<(usize, Vec<Part>)> = Vec::new();
    let one = || vec![Part { offset: 0, count: 1 }];
    let (mut placed, mut moved, mut refused) = (0, 0, 0);
    // All below and above is used.
    for outside in [0..around.start, around.end..blocks].into_iter().filter(|range| !range.is_empty()) {
        assert_eq!(arena.allocate_at(&&machine, outside.start, outside.len()), Ok(()));
        used[outside].fill(true);
    }
    for round in 0..rounds {
        let density = [5, 30, 60, 90][round / 64 % 4];
        for _ in 0..20 {
            let block = around.start + random.below(around.len());
            if random.below(100) < density && arena.allocate_at(&&machine, block, 1).is_ok() {
                used[block] = true;
                live.push((block, one()));
            }
        }
        let longest = random.pick(&[1, 1, 2, 5, 40]);
        let gap = random.pick(&[0, 1, 3, 30]);
        let parts = random_parts(&mut random, 8, longest, gap);
        let align = random.pick(&[1, 1, 1, 2, 8]);
        let offset = random.below(align);
        let expected = lowest_base(&used, &parts, align, offset);
        let got = congruent(&arena, &machine, &parts, align, offset).ok();
        assert_eq!(got, expected, "{parts:?}, align {align}+{offset}");
        match got {
            Some(base) => {
                mark(&mut used, base, &parts, true);
                placed += 1;
                let alone = lowest_base(&used, &parts[..1], align, offset);
                moved += usize::from(parts.len() > 1 && alone.is_some_and(|alone| alone < base));
                live.push((base, parts));
            }
            None => refused += 1,
        }
        while live.len() > 20 && random.below(100) >= density {
            let (base, parts) = live.swap_remove(random.below(live.len()));
            parts.iter().for_each(|part| arena.free(&SingleCpu, base + part.offset, part.count));
            mark(&mut used, base, &parts, false);
        }
    }
    let free = used.iter().filter(|used| !**used).count();
    assert_eq!(arena.stats(&SingleCpu).free, free);
    assert!(
        placed > rounds / 4 && moved > rounds / 50 && refused > rounds / 50,
        "{placed} {moved} {refused}"
    );
}

#[test]
fn congruent_runs_in_a_small_arena() {
    compare(500, 0..500, 20_000, 1);
}

#[test]
fn congruent_runs_across_maps() {
    compare(2 * MAP_BLOCKS, MAP_BLOCKS - 300..MAP_BLOCKS + 300, 3000, 2);
}

/// Parts so far apart that each needs a map of its own, which is taken outside of the lock.
#[test]
fn congruent_runs_in_maps_that_are_missing() {
    let parts = [0, MAP_BLOCKS, 5 * MAP_BLOCKS + 3].map(|offset| Part { offset, count: 2 });
    for allowance in 0..=3 {
        let machine = Machine::new(1, 12);
        let arena = new_arena(&machine, 7 * MAP_BLOCKS, SearchPolicy::Cached);
        machine.fail_after(allowance);
        let got = congruent(&arena, &machine, &parts, 1, 0);
        machine.never_fail();
        assert_eq!(got, if allowance == 3 { Ok(0) } else { Err(AllocError::NO_FRAMES) });
        if got.is_ok() {
            assert_eq!(congruent(&arena, &machine, &parts, 1, 0), Ok(2));
            assert_eq!(congruent(&arena, &machine, &parts, 8, 1), Ok(7), "aligned with the offset");
            for base in [0, 2, 7] {
                parts.iter().for_each(|part| arena.free(&SingleCpu, base + part.offset, part.count));
            }
        }
        release(arena, &machine);
        machine.assert_all_frames_back();
    }
}

#[test]
fn congruent_runs_that_do_not_fit_are_refused() {
    let machine = Machine::new(1, 12);
    let arena = new_arena(&machine, 10, SearchPolicy::Cached);
    let parts = |offsets: [usize; 2], count| offsets.map(|offset| Part { offset, count });
    assert_eq!(congruent(&arena, &machine, &parts([0, 9], 2), 1, 0), Err(AllocError::NO_SPACE));
    assert_eq!(congruent(&arena, &machine, &parts([0, 8], 2), 1 << 60, 5), Err(AllocError::NO_SPACE));
    assert_eq!(congruent(&arena, &machine, &parts([0, 8], 2), 1, 0), Ok(0));
    assert_eq!(congruent(&arena, &machine, &parts([0, 8], 1), 1, 0), Err(AllocError::NO_SPACE));
    assert_eq!(congruent(&arena, &machine, &parts([0, 5], 1), 1, 0), Ok(2));
}
