//! Every placement equals that of a plain linear first fit that caches nothing: 2 million
//! requests, half as many frees, in arenas of all sorts, whose free maps come and go.

use super::*;

/// A plain first fit: tries every place from the lowest on.
fn first_fit(
    used: &[bool],
    count: usize,
    align: usize,
    offset: usize,
    within: Range<usize>,
) -> Option<usize> {
    let end = within.end.min(used.len());
    let mut first = within.start;
    loop {
        first = (first + offset).next_multiple_of(align) - offset;
        if first + count > end {
            return None;
        }
        match used[first..first + count].iter().rposition(|&used| used) {
            None => return Some(first),
            // No place up to this used block will do.
            Some(last) => first += last + 1,
        }
    }
}

/// An arena and its model.
struct Pair {
    machine: Machine,
    arena: Arena,
    used: Vec<bool>,
    live: Vec<(usize, usize)>,
    random: Random,
    placed: usize,
    refused: usize,
    /// Maps that were given back.
    gone: usize,
}

impl Pair {
    fn new(blocks: usize, policy: SearchPolicy, seed: u64) -> Self {
        let machine = Machine::new(1, 12);
        Self {
            arena: new_arena(&machine, blocks, policy),
            machine,
            used: vec![false; blocks],
            live: Vec::new(),
            random: Random::new(seed),
            placed: 0,
            refused: 0,
            gone: 0,
        }
    }

    /// Sizes, alignments and ranges that small arenas have at hand; ranges near `around` or all.
    fn request(&mut self, longest: usize, around: Range<usize>, all: usize) {
        let random = &mut self.random;
        let count = 1 + random.below(longest);
        let align = 1 << random.pick(&[0, 0, 0, 1, 2, 3, 4, 5, 6]);
        let offset = random.below(align);
        let within = if random.below(100) < all {
            0..MAX_BLOCKS
        } else {
            let start = around.start + random.below(around.len());
            start..start + random.below(around.len())
        };
        let expected = first_fit(&self.used, count, align, offset, within.clone());
        let got = self.arena.allocate(&&self.machine, count, align, offset, within.clone());
        assert_eq!(got.ok(), expected, "{count} blocks, align {align}+{offset}, in {within:?}");
        match expected {
            Some(first) => self.take(first, count),
            None => self.refused += 1,
        }
    }

    fn request_at(&mut self, longest: usize, around: Range<usize>) {
        let first = around.start + self.random.below(around.len());
        let count = 1 + self.random.below(longest);
        let free = self.used.get(first..first + count).is_some_and(|blocks| !blocks.contains(&true));
        let got = self.arena.allocate_at(&&self.machine, first, count);
        assert_eq!(got.is_ok(), free, "{count} blocks at {first}");
        if free {
            self.take(first, count);
        }
    }

    fn take(&mut self, first: usize, count: usize) {
        self.used[first..first + count].fill(true);
        self.live.push((first, count));
        self.placed += 1;
    }

    /// Frees a run, or a part of it.
    fn free(&mut self) {
        if self.live.is_empty() {
            return;
        }
        let (first, count) = self.live.swap_remove(self.random.below(self.live.len()));
        let (mut from, mut to) = (first, first + count);
        if self.random.below(4) == 0 {
            from += self.random.below(count);
            to -= self.random.below(to - from);
            self.live
                .extend([(first, from - first), (to, first + count - to)].iter().filter(|run| run.1 > 0));
        }
        self.arena.free(&SingleCpu, from, to - from);
        self.used[from..to].fill(false);
    }

    fn check(&mut self) {
        let maps = self.arena.stats(&SingleCpu).maps;
        let gone = self.arena.release_free_maps(&&self.machine);
        assert_eq!(self.arena.stats(&SingleCpu).maps, maps - gone);
        self.gone += gone;
        self.arena.state.get_mut().check();
        let stats = self.arena.stats(&SingleCpu);
        let longest = self.used.split(|&used| used).map(<[bool]>::len).max();
        assert_eq!(stats.free, self.used.iter().filter(|&&used| !used).count());
        assert_eq!(stats.longest_run, longest.unwrap_or(0));
        let from = self.random.below(self.used.len());
        let next = self.used[from..].iter().position(|&used| used).map(|at| from + at);
        assert_eq!(self.arena.next_used(&SingleCpu, from), next);
    }

    /// `rounds` requests, of which `all` of 100 are for any place; the density swings.
    fn run(&mut self, rounds: usize, around: Range<usize>, all: usize, check_every: usize) {
        let (mut longest, mut freed) = (1, 0);
        for round in 0..rounds {
            if round % 256 == 0 {
                longest = self.random.pick(&[1, 2, 3, 8, 20, 90, 150, 300]);
                freed = self.random.pick(&[10, 45, 50, 55, 120]);
            }
            self.request(longest, around.clone(), all);
            if round % 16 == 0 {
                self.request_at(longest.min(20), around.clone());
            }
            for _ in 0..freed / 100 + usize::from(self.random.below(100) < freed % 100) {
                self.free();
            }
            if round % (16 * check_every) == 0 {
                while !self.live.is_empty() {
                    self.free();
                }
            }
            if round % check_every == 0 {
                self.check();
            }
        }
        self.check();
        assert!(self.placed > rounds / 20 && self.refused > rounds / 50, "{} {}", self.placed, self.refused);
    }
}

#[test]
fn small_arenas() {
    for (seed, blocks) in [300, 511, 512, 700, 1000].into_iter().enumerate() {
        Pair::new(blocks, SearchPolicy::Cached, seed as u64 + 1).run(200_000, 0..blocks, 50, 4000);
    }
}

#[test]
fn arenas_of_some_thousand_blocks() {
    for (seed, blocks) in [1500, 2222, 3000].into_iter().enumerate() {
        Pair::new(blocks, SearchPolicy::Cached, seed as u64 + 10).run(120_000, 0..blocks, 50, 4000);
    }
}

#[test]
fn around_the_boundaries_of_maps() {
    for (seed, boundary) in [MAP_BLOCKS, 2 * MAP_BLOCKS].into_iter().enumerate() {
        let around = boundary - 400..boundary + 400;
        let mut pair = Pair::new(3 * MAP_BLOCKS, SearchPolicy::Cached, seed as u64 + 20);
        pair.run(120_000, around, 0, 4000);
        assert!(pair.gone >= 2, "no map ever went");
    }
}

/// All used up to a boundary and from some place above it: any request is for its surroundings.
#[test]
fn around_the_boundary_of_maps_that_are_else_full() {
    let boundary = MAP_BLOCKS;
    let mut pair = Pair::new(3 * MAP_BLOCKS, SearchPolicy::Cached, 30);
    for (first, count) in [(0, boundary - 300), (boundary + 500, 2 * MAP_BLOCKS - 500)] {
        assert_eq!(pair.arena.allocate_at(&&pair.machine, first, count), Ok(()));
        pair.used[first..first + count].fill(true);
    }
    pair.run(120_000, boundary - 300..boundary + 500, 5, 4000);
}

/// The other policy places the same.
#[test]
fn from_the_start() {
    for (seed, blocks) in [300, 1000].into_iter().enumerate() {
        Pair::new(blocks, SearchPolicy::FromStart, seed as u64 + 40).run(120_000, 0..blocks, 50, 4000);
    }
}
