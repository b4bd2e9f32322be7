//! Spaces against a naive model, and their bounds.

extern crate std;

use super::{
    bins::{BINS, Bins, bin_of, sure_bin},
    bits::Bits,
    row::GRANULES,
    *,
};
use core::alloc::Layout;
use fastrand::Rng;
use std::{collections::BTreeMap, string::ToString, vec, vec::Vec};

/// The owner of a space: chunks are numbered, and which pages have frames is remembered.
struct Owner {
    space: Space<usize>,
    populated: BTreeMap<usize, Vec<bool>>,
    next: usize,
    /// Populating that is still to succeed, then fails.
    allowance: usize,
}

#[derive(Clone, Copy, Debug)]
struct Object {
    chunk: usize,
    place: Place,
    layout: Layout,
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("small")
}

impl Owner {
    fn new() -> Self {
        Self { space: Space::new(), populated: BTreeMap::new(), next: 0, allowance: usize::MAX }
    }

    fn take(&mut self, layout: Layout) -> Option<Object> {
        let size = Size::of(layout).expect("small");
        loop {
            match self.space.take(size) {
                Taken::At(chunk, place) => return Some(Object { chunk, place, layout }),
                Taken::Reserved(reserved) => {
                    let chunk = reserved.name;
                    let frames = self.populated.get_mut(&chunk).expect("a chunk");
                    if self.allowance == 0 {
                        let given = self.space.give_up(&reserved);
                        self.settle(given);
                        return None;
                    }
                    self.allowance -= 1;
                    for page in reserved.missing().flatten() {
                        assert!(!frames[page], "page {page} has a frame");
                        frames[page] = true;
                    }
                    assert!(frames[reserved.pages()].iter().all(|&frame| frame));
                    let place = self.space.commit(&reserved, size);
                    return Some(Object { chunk, place, layout });
                }
                Taken::Full => {
                    self.space.add(Chunk::new(self.next).expect("memory enough")).ok()?;
                    self.populated.insert(self.next, vec![false; PAGES]);
                    self.next += 1;
                }
            }
        }
    }

    fn give(&mut self, object: Object) {
        let given = self.space.give(object.place, Size::of(object.layout).expect("small"));
        self.settle(given);
    }

    fn settle(&mut self, given: Given<usize>) {
        match given {
            Given::Kept => {}
            Given::Chunk(chunk) => drop(self.populated.remove(chunk.name()).expect("a chunk")),
            Given::Reserved(reserved) => {
                let frames = &mut self.populated.get_mut(&reserved.name).expect("a chunk")[reserved.pages()];
                assert!(frames.iter().all(|&frame| frame));
                frames.fill(false);
                let given = self.space.depopulated(&reserved);
                self.settle(given);
            }
        }
    }

    fn frames(&self) -> usize {
        self.populated.values().flatten().filter(|&&frame| frame).count()
    }

    /// What the space counts is what can be counted.
    fn check(&self, objects: usize) {
        self.space.check();
        assert!(objects > 0 || self.populated.len() <= 1, "one empty chunk is kept");
        assert!(objects > 0 || self.frames() <= 32, "{} frames are kept", self.frames());
    }
}

/// Bytes that objects have, each by one.
#[derive(Default)]
struct Model(BTreeMap<(usize, usize), usize>);

impl Model {
    fn take(&mut self, object: Object, owner: &Owner) {
        let (start, end) = (object.place.offset(), object.place.offset() + object.layout.size());
        assert!(start.is_multiple_of(object.layout.align()) && end <= UNIT_SIZE, "{object:?}");
        let below = self.0.range(..(object.chunk, end)).next_back();
        assert!(
            below.is_none_or(|(&(chunk, _), &other)| chunk < object.chunk || other <= start),
            "{object:?}"
        );
        let pages = start / PAGE_SIZE..end.div_ceil(PAGE_SIZE);
        assert!(owner.populated[&object.chunk][pages].iter().all(|&frame| frame), "{object:?} lacks frames");
        self.0.insert((object.chunk, start), end);
    }

    fn give(&mut self, object: Object) {
        self.0.remove(&(object.chunk, object.place.offset())).expect("taken");
    }
}

/// Objects of all sizes come and go; now and then there is no frame. Seen failing when a row leaves the
/// alignment out, when the longest run is measured wrong after taking or giving, when pages that were given
/// up count as spare, when those that were populated do not, and when no empty chunk is removed.
#[test]
#[cfg_attr(miri, ignore = "tens of thousands of objects, for which Miri takes minutes")]
fn objects_have_bytes_of_their_own_and_give_them_back() {
    for seed in 0..4 {
        let (mut random, mut owner, mut model) = (Rng::with_seed(seed), Owner::new(), Model::default());
        let mut objects: Vec<Object> = Vec::new();
        let (mut largest, mut taken, mut refused) = (64, 0, 0);
        for round in 0..40_000 {
            if round % 1000 == 0 {
                largest = [24, 200, 1024, 4096, 40_000][random.usize(..5)];
                owner.allowance = if random.u8(..4) == 0 { random.usize(..40) } else { usize::MAX };
            }
            if random.u8(..100) < [70, 50, 30, 5][round / 2500 % 4] {
                let layout = layout(random.usize(1..=largest), 1 << random.u8(0..=12));
                match owner.take(layout) {
                    Some(object) => {
                        model.take(object, &owner);
                        objects.push(object);
                        taken += 1;
                    }
                    None => refused += 1,
                }
            } else if !objects.is_empty() {
                let object = objects.swap_remove(random.usize(..objects.len()));
                owner.give(object);
                model.give(object);
            }
            if round % 1000 == 999 {
                owner.check(objects.len());
            }
        }
        for object in objects.drain(..) {
            owner.give(object);
        }
        owner.check(0);
        assert!(taken > 10_000 && refused > 10, "{taken} {refused}");
        while let Some(chunk) = owner.space.trim() {
            owner.populated.remove(chunk.name()).expect("a chunk");
        }
        assert!(owner.populated.is_empty());
    }
}

/// Those of the benchmark: 9 % more than their bytes were seen.
#[test]
#[cfg_attr(miri, ignore = "tens of thousands of objects, for which Miri takes minutes")]
fn objects_of_many_sizes_are_packed() {
    let (mut random, mut owner) = (Rng::with_seed(1), Owner::new());
    let layouts = (0..35_000).map(|_| layout(random.usize(1..=1024), 1 << random.u8(1..=11)));
    let objects: Vec<_> = layouts.map(|layout| owner.take(layout).expect("chunks enough")).collect();
    let bytes: usize = objects.iter().map(|object| object.layout.size()).sum();
    let taken = owner.frames() * PAGE_SIZE;
    assert!(taken * 100 < bytes * 112, "{taken} bytes for {bytes}");
    objects.into_iter().for_each(|object| owner.give(object));
    owner.check(0);
}

#[test]
fn pages_with_frames_are_used_before_others() {
    let mut owner = Owner::new();
    let objects: Vec<_> = (0..20).map(|_| owner.take(layout(4096, 4096)).expect("room")).collect();
    objects.iter().skip(5).for_each(|&object| owner.give(object));
    assert_eq!(owner.frames(), 24, "eight at a time, and they are kept");
    owner.allowance = 0;
    for _ in 0..19 {
        owner.take(layout(4096, 1)).expect("a frame is there");
    }
    assert!(owner.take(layout(1, 1)).is_none());
    owner.allowance = 1;
    // Of ten pages.
    assert_eq!(owner.take(layout(40_000, 1)).expect("a frame").place.offset(), 24 * PAGE_SIZE);
}

#[test]
fn a_gap_in_a_full_page_is_used_again() {
    let mut owner = Owner::new();
    let objects: Vec<_> = (0..GRANULES).map(|_| owner.take(layout(GRANULE, 1)).expect("room")).collect();
    owner.give(objects[77]);
    assert_eq!(owner.take(layout(GRANULE, 1)).expect("room").place, objects[77].place);
    assert_eq!(owner.take(layout(GRANULE, 1)).expect("room").place.offset(), PAGE_SIZE);
}

#[test]
fn what_does_not_fit_a_unit_is_refused() {
    assert_eq!(Size::of(layout(0, 1)), Err(SizeError::Zero));
    assert_eq!(Size::of(layout(UNIT_SIZE + 1, 1)), Err(SizeError::TooLarge { size: UNIT_SIZE + 1 }));
    assert_eq!(Size::of(layout(1, 8192)), Err(SizeError::BadAlignment { align: 8192 }));
    assert_eq!(
        SizeError::TooLarge { size: 3 << 20 }.to_string(),
        "3145728 bytes are more than a unit of 2093056"
    );
    let mut owner = Owner::new();
    let objects = [UNIT_SIZE; 3].map(|size| owner.take(layout(size, 4096)).expect("room"));
    assert_eq!(objects.map(|object| object.chunk), [0, 1, 2]);
    objects.into_iter().for_each(|object| owner.give(object));
    owner.check(0);
}

#[test]
#[cfg_attr(miri, ignore = "so many chunks, for which Miri takes minutes")]
fn there_are_so_many_chunks_and_no_more() {
    let mut owner = Owner::new();
    let objects: Vec<_> = (0..CHUNKS).map(|_| owner.take(layout(UNIT_SIZE, 1)).expect("room")).collect();
    assert!(owner.take(layout(1, 1)).is_none());
    assert_eq!(owner.space.first_searched(), CHUNKS, "full chunks are not searched again");
    owner.give(objects[100]);
    assert_eq!(owner.take(layout(1, 1)).expect("room").chunk, 100);
}

#[test]
#[should_panic(expected = "what is free was given back")]
fn what_was_given_back_cannot_be_given_again() {
    let mut owner = Owner::new();
    let objects = [(); 2].map(|()| owner.take(layout(100, 8)).expect("room"));
    owner.give(objects[0]);
    owner.give(objects[0]);
}

/// Seen failing when a bin is not sure, and when there is a surer one below.
#[test]
fn a_sure_bin_is_the_lowest_whose_rows_are_all_long_enough() {
    let shortest = |bin| (1..GRANULES).find(|&length| bin_of(length) == bin);
    assert!((1..BINS).all(|bin| shortest(bin).is_some()) && shortest(BINS).is_none());
    for length in 2..GRANULES {
        let sure = (1..=BINS).find(|&bin| shortest(bin).is_none_or(|shortest| shortest >= length));
        assert_eq!(Some(sure_bin(length)), sure, "{length}");
    }
}

#[test]
fn bins_are_found_as_by_looking_at_each() {
    let (mut random, mut bins, mut model) = (Rng::with_seed(1), Bins::new(), [NONE; BINS]);
    for _ in 0..if cfg!(miri) { 50 } else { 3000 } {
        let (bin, row) = (random.usize(..BINS), if random.bool() { random.u32(..NONE) } else { NONE });
        assert_eq!(bins.set_first(bin, row), core::mem::replace(&mut model[bin], row));
        let (low, high) = (random.usize(..=BINS), random.usize(..BINS + 10));
        let filled = || model.iter().copied().enumerate().filter(|&(_, row)| row != NONE);
        assert_eq!(bins.at_least(high), filled().find(|&(bin, _)| bin >= high).map(|(_, row)| row));
        let between = filled().filter(|(bin, _)| (low..high).contains(bin)).map(|(bin, _)| 1 << bin);
        assert_eq!(bins.between(low, high), between.sum::<u32>(), "{low}..{high}");
    }
}

#[test]
fn bits_are_as_in_a_list() {
    type Three = Bits<3>;
    let (mut random, mut bits, mut model) = (Rng::with_seed(1), Three::NONE, [false; Three::LEN]);
    for _ in 0..if cfg!(miri) { 50 } else { 3000 } {
        let first = random.usize(..Three::LEN);
        let is_set = model[first];
        let longest = model[first..].iter().take_while(|&&bit| bit == is_set).count();
        let count = random.usize(1..=longest);
        if is_set {
            bits.clear(first, count)
        } else {
            bits.set(first, count)
        }
        model[first..first + count].fill(!is_set);
        let at = random.usize(..Three::LEN);
        let next = |set| (at..Three::LEN).find(|&bit| model[bit] == set).unwrap_or(Three::LEN);
        assert_eq!(
            (bits.has(at), bits.next_set(at), bits.next_clear(at)),
            (model[at], next(true), next(false))
        );
        let below = |end| model[..end].iter().rposition(|&bit| bit).map_or(0, |bit| bit + 1);
        assert_eq!([at, Three::LEN].map(|end| bits.clear_below(end)), [at, Three::LEN].map(below));
        assert_eq!(bits.count(), model.iter().filter(|&&bit| bit).count());
    }
}

#[test]
#[cfg_attr(miri, ignore = "thousands of comparisons of all pages, for which Miri takes minutes")]
fn pages_of_a_chunk_are_as_in_a_list() {
    let (mut random, mut chunk) = (Rng::with_seed(1), Chunk::new(()).expect("memory enough"));
    let (mut used, mut ready) = ([false; PAGES], [false; PAGES]);
    for round in 0..5000 {
        // Full in the end.
        let lowest = if round < 3000 { None } else { used.iter().position(|&used| !used) };
        let start = lowest.unwrap_or_else(|| random.usize(..PAGES));
        let pages = start..(start + random.usize(1..=if round < 3000 { 40 } else { 2 })).min(PAGES);
        if random.bool() {
            let populated = random.bool();
            chunk.set_populated(&pages, populated);
            ready[pages.clone()].fill(populated);
        } else if used[pages.clone()].iter().all(|&used| !used) {
            chunk.mark_used(&pages);
            used[pages.clone()].fill(true);
        } else if random.usize(..3000) > round && used[pages.clone()].iter().all(|&used| used) {
            chunk.mark_free(&pages);
            used[pages.clone()].fill(false);
        }
        let count = |is: &dyn Fn(usize) -> bool| (0..PAGES).filter(|&page| is(page)).count();
        let is_idle = |page: usize| ready[page] && !used[page];
        assert_eq!(chunk.spare(), count(&is_idle));
        assert_eq!(
            (chunk.is_empty(), chunk.is_full()),
            (count(&|page| used[page]) == 0, !used.contains(&false))
        );
        assert_eq!(chunk.missing(&pages).count(), pages.clone().filter(|&page| !ready[page]).count());
        let most = random.usize(1..10);
        let free_from = |from: usize| (from..PAGES).take_while(|&page| !used[page]).count();
        assert_eq!(
            chunk.find(most),
            (0..PAGES).find(|&page| free_from(page) >= most).map(|page| page..page + most)
        );
        let one = (0..PAGES).find(|&page| is_idle(page)).map(|page| page..page + 1);
        let first = || (0..PAGES).find(|&page| !used[page]);
        let one = one.or_else(|| first().map(|page| page..page + most.min(free_from(page))));
        assert_eq!(chunk.find_one(most), one);
        let around = chunk.idle_around(start, most);
        assert!(around.contains(&start) && around.len() <= most);
        assert!(around.clone().all(|page| page == start || is_idle(page)), "{around:?}");
        let stops = |page: usize| page >= PAGES || !is_idle(page);
        let is_longest = around.start.checked_sub(1).is_none_or(stops) && stops(around.end);
        assert!(around.len() == most || is_longest, "{around:?}");
    }
    assert!(chunk.is_full());
}

/// A hole in a page that is full otherwise is used again. Seen failing with full pages that come into no bin when they have
/// room again.
#[test]
fn a_hole_in_a_full_page_is_used_again() {
    let mut owner = Owner::new();
    let small = layout(1, 1);
    let all: Vec<Object> = (0..GRANULES).map(|_| owner.take(small).expect("frames")).collect();
    let page = |object: &Object| (object.chunk, object.place.offset() / PAGE_SIZE);
    assert!(all.iter().all(|object| page(object) == page(&all[0])), "one page is full");
    let more = owner.take(small).expect("frames");
    assert_ne!(page(&more), page(&all[0]));
    for hole in [0, 1, GRANULES / 2, GRANULES - 1] {
        owner.give(all[hole]);
        let again = owner.take(small).expect("frames");
        assert_eq!((again.chunk, again.place.offset()), (all[hole].chunk, all[hole].place.offset()));
    }
    all.into_iter().chain([more]).for_each(|object| owner.give(object));
    owner.check(0);
}

/// A page with a longer run may have no place that is aligned, and one with a shorter run a place. Seen failing with a bin
/// that is looked at twice, and the next one never.
#[test]
fn an_aligned_object_is_sought_in_more_than_one_bin() {
    let mut owner = Owner::new();
    let granule = PAGE_SIZE / GRANULES;
    let mut take =
        |granules: usize, align| owner.take(layout(granules * granule, align * granule)).expect("frames");
    let (first, longer) = (take(1, 1), take(2, 1));
    let mut left: Vec<Object> = (3..2 * GRANULES).map(|_| take(1, 1)).collect();
    let shorter = left.swap_remove(GRANULES + 4 - 3);
    [longer, shorter].into_iter().for_each(|object| owner.give(object));
    let aligned = owner.take(layout(granule, 4 * granule)).expect("frames");
    assert_eq!((aligned.chunk, aligned.place.offset()), (shorter.chunk, shorter.place.offset()));
    assert_eq!(aligned.place.offset() % (4 * granule), 0);
    left.into_iter().chain([first, aligned]).for_each(|object| owner.give(object));
    owner.check(0);
}
