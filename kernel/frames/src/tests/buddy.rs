//! What the buddy allocator promises, case by case; `model.rs` has the random walk.

extern crate std;

use crate::{Block, Buddy, FreeError, MAX_ORDER, MAX_RUN};
use core::ops::Range;
use std::{format, vec, vec::Vec};

/// An allocator for `span` in which nothing is free.
fn empty(span: Range<u64>) -> Buddy<'static> {
    // Not zero, as memory that a boot loader leaves need not be.
    let storage = vec![u64::MAX; Buddy::storage_words(span.clone())];
    Buddy::new(span, storage.leak())
}

/// An allocator for `span` in which everything is free.
fn full(span: Range<u64>) -> Buddy<'static> {
    let mut buddy = empty(span.clone());
    buddy.add(span).unwrap();
    buddy
}

/// Number of free blocks, order by order.
fn shape(buddy: &Buddy<'_>) -> [u64; MAX_ORDER + 1] {
    std::array::from_fn(|order| buddy.free_blocks(order))
}

/// Fails unless `operation` returns `error` and leaves the allocator as it was.
fn refused(
    buddy: &mut Buddy<'_>,
    error: FreeError,
    operation: impl FnOnce(&mut Buddy<'_>) -> Result<(), FreeError>,
) {
    let before = (shape(buddy), buddy.free_frames(), buddy.total());
    assert_eq!(operation(buddy), Err(error));
    assert_eq!((shape(buddy), buddy.free_frames(), buddy.total()), before);
}

#[test]
fn storage_is_about_two_bits_a_frame_and_known_at_compile_time() {
    const SPAN_64_GIB: Range<u64> = 0..1 << 24;
    const WORDS: usize = Buddy::storage_words(SPAN_64_GIB);
    let bits_per_frame = (WORDS * 64) as f64 / (1 << 24) as f64;
    assert!((2.0..2.1).contains(&bits_per_frame), "{bits_per_frame}");
    assert_eq!(Buddy::storage_words(7 * MAX_RUN..9 * MAX_RUN), Buddy::storage_words(0..2 * MAX_RUN));
}

#[test]
#[should_panic(expected = "storage is too short")]
fn short_storage_is_refused() {
    let mut storage = vec![0; Buddy::storage_words(0..5000) - 1];
    let _ = Buddy::new(0..5000, &mut storage);
}

#[test]
#[should_panic(expected = "physical address width")]
fn a_span_no_machine_can_have_is_refused() {
    let _ = Buddy::storage_words(0..1 << 41);
}

#[test]
fn nothing_is_free_before_it_is_added() {
    let mut buddy = empty(0..4096);
    assert_eq!((buddy.free_frames(), buddy.total(), buddy.largest_free_order()), (0, 0, None));
    assert_eq!(buddy.allocate(0), None);
    assert_eq!(buddy.allocate_run(1), None);
    assert_eq!(buddy.allocate_bulk(9, |_| unreachable!()), 0);
}

#[test]
fn an_empty_span_is_an_allocator_without_memory() {
    let mut buddy = empty(777..777);
    assert_eq!(buddy.allocate(0), None);
    refused(&mut buddy, FreeError::OutsideSpan { frame: 777 }, |buddy| buddy.add(777..778));
}

#[test]
fn odd_boundaries_give_every_frame_in_between() {
    let mut buddy = empty(3..5001);
    buddy.add(3..5001).unwrap();
    assert_eq!((buddy.free_frames(), buddy.total()), (4998, 4998));
    let mut seen = vec![false; 5001];
    while let Some(frame) = buddy.allocate(0) {
        assert!(!std::mem::replace(&mut seen[frame as usize], true), "frame {frame} twice");
    }
    assert!(seen[..3].iter().all(|&seen| !seen));
    assert!(seen[3..].iter().all(|&seen| seen));
    assert_eq!(buddy.free_frames(), 0);
}

#[test]
fn adjacent_regions_merge_and_holes_stay() {
    let mut buddy = empty(0..8192);
    buddy.add(0..500).unwrap();
    buddy.add(500..1024).unwrap();
    buddy.add(2048..2049).unwrap();
    assert_eq!((buddy.free_blocks(MAX_ORDER), buddy.free_blocks(0)), (1, 1));
    assert_eq!(buddy.free_block_of(1023), Some(Block { first_frame: 0, order: MAX_ORDER }));
    assert_eq!(buddy.free_block_of(1024), None);
    assert_eq!(buddy.free_block_of(9000), None);
}

#[test]
fn adding_what_is_free_already_adds_nothing() {
    let mut buddy = empty(0..8192);
    buddy.add(1024..2048).unwrap();
    let error = FreeError::AlreadyFree {
        block: Block { first_frame: 1024, order: 9 },
        found: Block { first_frame: 1024, order: 10 },
    };
    refused(&mut buddy, error, |buddy| buddy.add(100..1536));
}

#[test]
fn the_lowest_block_of_the_smallest_order_is_taken() {
    let mut buddy = empty(0..8192);
    buddy.add(0..2048).unwrap();
    buddy.add(4096..4096 + 8).unwrap();
    buddy.add(5000..5000 + 8).unwrap();
    assert_eq!(buddy.allocate(2), Some(4096));
    assert_eq!(buddy.allocate(0), Some(4100));
    assert_eq!(buddy.allocate(3), Some(5000));
    assert_eq!(buddy.allocate(3), Some(0));
    assert_eq!(buddy.largest_free_order(), Some(MAX_ORDER));
}

#[test]
fn an_order_above_the_top_is_not_had() {
    let mut buddy = full(0..4096);
    assert_eq!(buddy.allocate(MAX_ORDER + 1), None);
    assert_eq!(buddy.allocate(usize::MAX), None);
    assert_eq!(buddy.free_blocks(usize::MAX), 0);
    refused(&mut buddy, FreeError::OrderTooLarge { order: 11 }, |buddy| buddy.free(0, 11));
}

#[test]
fn blocks_are_aligned_in_physical_memory_whatever_the_span() {
    for start in [0, 1, 511, 1023, 1024, 0xfffff] {
        let mut buddy = full(start..start + 4096);
        for order in 0..=MAX_ORDER {
            let first = buddy.allocate(order).unwrap();
            assert_eq!(first % (1 << order), 0, "order {order} in a span from {start}");
        }
    }
}

#[test]
fn freeing_in_any_order_merges_back_to_the_start() {
    let mut buddy = full(5..9000);
    let start = shape(&buddy);
    for stride in [1, 11, 4001] {
        let mut frames: Vec<u64> = std::iter::from_fn(|| buddy.allocate(0)).collect();
        assert_eq!(frames.len(), 8995);
        assert_eq!(shape(&buddy), [0; MAX_ORDER + 1]);
        frames.sort_unstable();
        // The stride has no common divisor with the length: every frame comes once.
        for step in 0..frames.len() {
            buddy.free(frames[step * stride % frames.len()], 0).unwrap();
        }
        assert_eq!(shape(&buddy), start);
        assert_eq!(buddy.free_frames(), buddy.total());
    }
}

#[test]
fn a_block_may_be_freed_in_parts_and_parts_as_a_block() {
    let mut buddy = full(0..1024);
    let first = buddy.allocate(4).unwrap();
    for part in [3, 1, 0, 2] {
        buddy.free(first + 4 * part, 2).unwrap();
    }
    assert_eq!(buddy.free_blocks(MAX_ORDER), 1);
    assert_eq!((buddy.allocate(0), buddy.allocate(0)), (Some(0), Some(1)));
    buddy.free(0, 1).unwrap();
    assert_eq!(buddy.free_blocks(MAX_ORDER), 1);
}

#[test]
fn a_second_free_is_seen_at_every_order() {
    for order in 0..=MAX_ORDER {
        let mut buddy = full(0..4096);
        let first = buddy.allocate(order).unwrap();
        // Keeps the freed block from merging, so that it is found at its own order.
        let neighbour = buddy.allocate(order).unwrap();
        buddy.free(first, order).unwrap();
        let block = Block { first_frame: first, order };
        refused(&mut buddy, FreeError::AlreadyFree { block, found: block }, |buddy| buddy.free(first, order));
        buddy.free(neighbour, order).unwrap();
        // Merged now: found in the block that took it in.
        let found = Block { first_frame: 0, order: MAX_ORDER };
        refused(&mut buddy, FreeError::AlreadyFree { block, found }, |buddy| buddy.free(first, order));
    }
}

#[test]
fn a_free_part_is_seen_at_every_order_below() {
    for order in 1..=MAX_ORDER {
        for part in 0..order {
            let mut buddy = full(0..4096);
            let first = buddy.allocate(order).unwrap();
            let found = Block { first_frame: first + (1 << order) - (1 << part), order: part };
            buddy.free(found.first_frame, part).unwrap();
            let block = Block { first_frame: first, order };
            refused(&mut buddy, FreeError::AlreadyFree { block, found }, |buddy| buddy.free(first, order));
        }
    }
}

#[test]
fn misaligned_and_outside_are_told_apart() {
    let mut buddy = full(100..3000);
    while buddy.allocate(0).is_some() {}
    let misaligned = FreeError::Misaligned { first_frame: 130, order: 2 };
    refused(&mut buddy, misaligned, |buddy| buddy.free(130, 2));
    refused(&mut buddy, FreeError::OutsideSpan { frame: 99 }, |buddy| buddy.free(99, 0));
    refused(&mut buddy, FreeError::OutsideSpan { frame: 96 }, |buddy| buddy.free(96, 3));
    refused(&mut buddy, FreeError::OutsideSpan { frame: 3000 }, |buddy| buddy.free(3000, 0));
    refused(&mut buddy, FreeError::OutsideSpan { frame: 3000 }, |buddy| buddy.free(2992, 4));
    let last = u64::MAX;
    refused(&mut buddy, FreeError::OutsideSpan { frame: last }, |buddy| buddy.free(last, 0));
    refused(&mut buddy, FreeError::OutsideSpan { frame: last }, |buddy| buddy.free_bulk([last]));
    refused(&mut buddy, FreeError::OutsideSpan { frame: 3000 }, |buddy| buddy.free_run(2999..3001));
}

#[test]
fn freeing_more_than_was_ever_added_is_refused() {
    let mut buddy = empty(0..4096);
    buddy.add(0..8).unwrap();
    let first = buddy.allocate(1).unwrap();
    let error = FreeError::NeverAdded { frames: 4, allocated: 2 };
    refused(&mut buddy, error, |buddy| buddy.free(2048, 2));
    refused(&mut buddy, error, |buddy| buddy.free_run(2049..2053));
    buddy.free(first, 1).unwrap();
}

#[test]
fn a_run_of_every_length_leaves_its_tail_free() {
    for frames in 1..=MAX_RUN {
        let mut buddy = full(0..2048);
        let run = buddy.allocate_run(frames).unwrap();
        assert_eq!(run, 0..frames);
        assert_eq!(buddy.free_frames(), 2048 - frames);
        assert_eq!(buddy.free_block_of(frames - 1), None);
        assert!(buddy.free_block_of(frames).is_some());
        buddy.free_run(run).unwrap();
        assert_eq!(buddy.free_blocks(MAX_ORDER), 2);
    }
}

#[test]
fn run_lengths_out_of_range_are_not_had() {
    let mut buddy = full(0..4096);
    assert_eq!(buddy.allocate_run(0), None);
    assert_eq!(buddy.allocate_run(MAX_RUN + 1), None);
    assert_eq!(buddy.allocate_run(u64::MAX), None);
    assert_eq!(buddy.free_frames(), 4096);
}

#[test]
fn a_run_longer_than_the_top_order_may_be_freed() {
    let mut buddy = full(7..5000);
    let start = shape(&buddy);
    while buddy.allocate(0).is_some() {}
    buddy.free_run(7..5000).unwrap();
    buddy.free_run(9..9).unwrap();
    assert_eq!(shape(&buddy), start);
}

#[test]
fn a_run_with_one_free_frame_is_refused_whole() {
    let mut buddy = full(0..1024);
    let run = buddy.allocate_run(300).unwrap();
    buddy.free(297, 0).unwrap();
    let error = FreeError::AlreadyFree {
        block: Block { first_frame: 296, order: 2 },
        found: Block { first_frame: 297, order: 0 },
    };
    refused(&mut buddy, error, |buddy| buddy.free_run(run));
}

#[test]
fn bulk_from_fresh_memory_takes_whole_blocks() {
    let mut buddy = full(0..2048);
    let mut frames = Vec::new();
    assert_eq!(buddy.allocate_bulk(100, |frame| frames.push(frame)), 100);
    assert!(frames.iter().copied().eq(0..100));
    // 64, then 32, then 4, and what is left of the first top block in as few pieces.
    assert_eq!(shape(&buddy), [0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1]);
    buddy.free_bulk(frames).unwrap();
    assert_eq!(buddy.free_blocks(MAX_ORDER), 2);
}

#[test]
fn bulk_uses_up_leftovers_before_it_breaks_a_large_block() {
    let mut buddy = empty(0..8192);
    buddy.add(1024..2048).unwrap();
    for frame in (4096..4196).step_by(2) {
        buddy.add(frame..frame + 1).unwrap();
    }
    let mut frames = Vec::new();
    assert_eq!(buddy.allocate_bulk(50, |frame| frames.push(frame)), 50);
    assert!(frames.iter().all(|&frame| frame >= 4096));
    assert_eq!((buddy.free_blocks(0), buddy.free_blocks(MAX_ORDER)), (0, 1));
}

#[test]
fn bulk_takes_the_largest_block_that_is_not_too_large() {
    let mut buddy = empty(0..8192);
    buddy.add(1..2).unwrap();
    buddy.add(1024..1024 + 64).unwrap();
    buddy.add(2048..2048 + 128).unwrap();
    let mut frames = Vec::new();
    assert_eq!(buddy.allocate_bulk(65, |frame| frames.push(frame)), 65);
    assert!(frames.into_iter().eq((1024..1088).chain([1])));
    assert_eq!(buddy.largest_free_order(), Some(7));
}

#[test]
fn bulk_gives_what_there_is() {
    let mut buddy = empty(0..8192);
    buddy.add(3..2000).unwrap();
    let mut frames = Vec::new();
    assert_eq!(buddy.allocate_bulk(1 << 40, |frame| frames.push(frame)), 1997);
    frames.sort_unstable();
    assert!(frames.into_iter().eq(3..2000));
    assert_eq!(buddy.free_frames(), 0);
}

#[test]
fn bulk_free_frees_the_good_and_reports_the_first_bad() {
    let mut buddy = full(0..1024);
    assert_eq!(buddy.allocate_bulk(64, |_| ()), 64);
    let frames = (0..32).chain([5000, 40, 40, 41]).chain(32..40).chain(42..64);
    assert_eq!(buddy.free_bulk(frames), Err(FreeError::OutsideSpan { frame: 5000 }));
    assert_eq!(buddy.free_blocks(MAX_ORDER), 1);

    assert_eq!(buddy.allocate_bulk(8, |_| ()), 8);
    let block = Block { first_frame: 3, order: 0 };
    // The first four have been freed, and merged, by the time that the second 3 is.
    let found = Block { first_frame: 0, order: 2 };
    let frames = [0, 1, 2, 3, 3, 4, 5, 6, 7];
    assert_eq!(buddy.free_bulk(frames), Err(FreeError::AlreadyFree { block, found }));
    assert_eq!(buddy.free_blocks(MAX_ORDER), 1);
}

#[test]
fn a_64_gib_span_with_a_hole_below_4_gib_works_at_its_far_end() {
    let gib = 1 << 18;
    let end = 65 * gib + 12_345;
    let mut buddy = empty(0..end);
    buddy.add(256..3 * gib - 77).unwrap();
    buddy.add(4 * gib..end).unwrap();
    assert_eq!(buddy.free_frames(), 3 * gib - 77 - 256 + 61 * gib + 12_345);
    assert_eq!(buddy.free_block_of(end - 1), Some(Block { first_frame: end - 1, order: 0 }));
    let start = shape(&buddy);
    let mut last = 0;
    while let Some(first) = buddy.allocate(MAX_ORDER) {
        assert!(first >= last);
        last = first + MAX_RUN;
    }
    assert_eq!(last, end / MAX_RUN * MAX_RUN);
    buddy.free_run(4 * gib..last).unwrap();
    buddy.free_run(MAX_RUN..3 * gib - MAX_RUN).unwrap();
    assert_eq!(shape(&buddy), start);
}

/// Seen failing with a search upwards that another free block than the buddy ends.
#[test]
fn no_frame_of_a_free_block_is_freed_again_while_a_single_one_is_free() {
    for single in [0, 1] {
        let mut buddy = empty(0..2 * MAX_RUN);
        buddy.add(single..single + 1).unwrap();
        buddy.add(MAX_RUN..2 * MAX_RUN).unwrap();
        let found = Block { first_frame: MAX_RUN, order: MAX_ORDER };
        for first in found.frames() {
            let block = Block { first_frame: first, order: 0 };
            refused(&mut buddy, FreeError::AlreadyFree { block, found }, |buddy| buddy.free(first, 0));
        }
    }
}

#[test]
fn who_prints_an_allocator_reads_what_it_has() {
    let shown = format!("{:?}", full(7..9));
    assert!(
        shown.starts_with("Buddy { span: 7..9, total: 2, free_frames: 2, free_blocks: [2, 0, "),
        "{shown}"
    );
}
