//! A random walk of operations, step by step against a naive model.
//!
//! The model is one bit a frame. What the buddy allocator must do follows from it alone,
//! since merging at once makes the free blocks a function of the set of free frames: the
//! model works out the blocks afresh at every step and predicts the very frames that an
//! allocation returns, not only that they were free.

extern crate std;

use crate::{Block, Buddy, MAX_ORDER, MAX_RUN};
use core::ops::Range;
use proptest::prelude::*;
use std::{collections::BTreeSet, vec, vec::Vec};

/// Frames of the span: odd ends, and more than four blocks of the top order.
const SPAN: Range<u64> = 700..5433;

/// One step; indexes are taken modulo what there is at that time.
#[derive(Clone, Debug)]
enum Step {
    Add(Range<u64>),
    Allocate(usize),
    AllocateRun(u64),
    AllocateBulk(usize),
    /// Frees one of the held ranges whole.
    FreeRun(usize),
    /// Frees the aligned block of this order around the start of a held range, whether or
    /// not all of it is held.
    Free(usize, usize),
    /// Frees up to so many of the held single frames, taken with a stride.
    FreeBulk(usize, usize),
    /// Frees a block that may be anything.
    FreeAny(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let frame = SPAN.start - 30..SPAN.end + 30;
    prop_oneof![
        2 => (frame.clone(), 0..1500_u64).prop_map(|(start, frames)| Step::Add(start..start + frames)),
        6 => (0..=MAX_ORDER + 1).prop_map(Step::Allocate),
        4 => (0..=MAX_RUN + 1).prop_map(Step::AllocateRun),
        4 => (0..40_u64).prop_map(Step::AllocateRun),
        4 => (0..700_usize).prop_map(Step::AllocateBulk),
        8 => any::<usize>().prop_map(Step::FreeRun),
        4 => (any::<usize>(), 0..=MAX_ORDER).prop_map(|(held, order)| Step::Free(held, order)),
        4 => (0..300_usize, 1..400_usize).prop_map(|(count, stride)| Step::FreeBulk(count, stride)),
        4 => (frame, 0..=MAX_ORDER + 1).prop_map(|(frame, order)| Step::FreeAny(frame, order)),
    ]
}

/// What each frame of the span is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Frame {
    Absent,
    Free,
    Used,
}

struct Model {
    frames: Vec<Frame>,
}

impl Model {
    fn of(&self, frame: u64) -> Option<Frame> {
        if !SPAN.contains(&frame) {
            return None;
        }
        Some(self.frames[(frame - SPAN.start) as usize])
    }

    fn all(&self, mut run: Range<u64>, state: Frame) -> bool {
        run.all(|frame| self.of(frame) == Some(state))
    }

    fn set(&mut self, run: Range<u64>, state: Frame) {
        for frame in run {
            self.frames[(frame - SPAN.start) as usize] = state;
        }
    }

    fn count(&self, state: Frame) -> u64 {
        self.frames.iter().filter(|&&frame| frame == state).count() as u64
    }

    /// The largest aligned blocks that the free frames make up, lowest first.
    fn free_blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut next = SPAN.start;
        while next < SPAN.end {
            let order = (0..=MAX_ORDER).rev().find(|&order| {
                next.is_multiple_of(1 << order) && self.all(next..next + (1 << order), Frame::Free)
            });
            match order {
                Some(order) => {
                    blocks.push(Block { first_frame: next, order });
                    next += 1 << order;
                }
                None => next += 1,
            }
        }
        blocks
    }

    /// Where a block of `order` must come from.
    fn allocate(&self, order: usize) -> Option<u64> {
        let blocks = self.free_blocks();
        let fits = blocks.iter().filter(|block| block.order >= order);
        fits.min_by_key(|block| (block.order, block.first_frame)).map(|block| block.first_frame)
    }

    /// Whether a free of `run` must be taken. The allocator cannot tell an absent frame
    /// from a used one unless there would be more free frames than were added.
    fn may_free(&self, mut run: Range<u64>) -> bool {
        run.end - run.start <= self.count(Frame::Used)
            && run.all(|frame| matches!(self.of(frame), Some(Frame::Used | Frame::Absent)))
    }
}

/// The allocator, the model, and the ranges handed out and not yet freed.
struct Walk {
    buddy: Buddy<'static>,
    model: Model,
    held: Vec<Range<u64>>,
}

impl Walk {
    fn new() -> Self {
        let storage = vec![0x5555; Buddy::storage_words(SPAN)].leak();
        let model = Model { frames: vec![Frame::Absent; (SPAN.end - SPAN.start) as usize] };
        Self { buddy: Buddy::new(SPAN, storage), model, held: Vec::new() }
    }

    fn hand_out(&mut self, run: Range<u64>) {
        assert!(self.model.all(run.clone(), Frame::Free), "{run:?} handed out, but was not free");
        self.model.set(run.clone(), Frame::Used);
        self.held.push(run);
    }

    fn take_back(&mut self, run: Range<u64>) {
        assert!(self.model.all(run.clone(), Frame::Used), "{run:?} freed, but was not used");
        self.model.set(run.clone(), Frame::Free);
        // What is left of the held ranges on both sides of the run.
        self.held = self
            .held
            .iter()
            .flat_map(|held| [held.start..held.end.min(run.start), held.start.max(run.end)..held.end])
            .filter(|held| !held.is_empty())
            .collect();
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Add(run) => {
                // An overlap with used frames cannot be seen; it is the caller's promise.
                if run.clone().any(|frame| self.model.of(frame) == Some(Frame::Used)) {
                    return;
                }
                let fresh = self.model.all(run.clone(), Frame::Absent);
                assert_eq!(self.buddy.add(run.clone()).is_ok(), fresh);
                if fresh {
                    self.model.set(run, Frame::Free);
                }
            }
            Step::Allocate(order) => {
                let expected = self.model.allocate(order);
                assert_eq!(self.buddy.allocate(order), expected);
                if let Some(first) = expected {
                    self.hand_out(first..first + (1 << order));
                }
            }
            Step::AllocateRun(frames) => {
                let order = frames.next_power_of_two().ilog2() as usize;
                let first = if frames == 0 { None } else { self.model.allocate(order) };
                let expected = first.map(|first| first..first + frames);
                assert_eq!(self.buddy.allocate_run(frames), expected);
                if let Some(run) = expected {
                    self.hand_out(run);
                }
            }
            Step::AllocateBulk(count) => {
                let expected = self.model.count(Frame::Free).min(count as u64) as usize;
                let mut frames = Vec::new();
                assert_eq!(self.buddy.allocate_bulk(count, |frame| frames.push(frame)), expected);
                assert_eq!(frames.len(), expected);
                for frame in frames {
                    self.hand_out(frame..frame + 1);
                }
            }
            Step::FreeRun(held) if !self.held.is_empty() => {
                let run = self.held.swap_remove(held % self.held.len());
                self.buddy.free_run(run.clone()).unwrap();
                self.take_back(run);
            }
            Step::Free(held, order) if !self.held.is_empty() => {
                let first = self.held[held % self.held.len()].start & (u64::MAX << order);
                self.free_block(first, order);
            }
            Step::FreeRun(_) | Step::Free(..) => (),
            Step::FreeBulk(count, stride) => {
                let singles: BTreeSet<u64> =
                    self.held.iter().filter(|run| run.end - run.start == 1).map(|run| run.start).collect();
                let mut frames: Vec<u64> = singles.into_iter().collect();
                let mut freed = Vec::new();
                for step in 0..count.min(frames.len()) {
                    freed.push(frames.swap_remove(step * stride % frames.len()));
                }
                self.buddy.free_bulk(freed.iter().copied()).unwrap();
                for frame in freed {
                    self.take_back(frame..frame + 1);
                }
            }
            Step::FreeAny(first, order) => self.free_block(first, order),
        }
    }

    fn free_block(&mut self, first: u64, order: usize) {
        let run = first..first + (1 << order);
        let expected =
            order <= MAX_ORDER && first.is_multiple_of(1 << order) && self.model.may_free(run.clone());
        // A hole freed as if it were used cannot be told; not the allocator's promise.
        if expected && !self.model.all(run.clone(), Frame::Used) {
            return;
        }
        assert_eq!(self.buddy.free(first, order).is_ok(), expected, "free of {run:?}");
        if expected {
            self.take_back(run);
        }
    }

    fn compare(&self) {
        let blocks = self.model.free_blocks();
        assert_eq!(self.buddy.free_frames(), self.model.count(Frame::Free));
        assert_eq!(self.buddy.total(), self.buddy.free_frames() + self.model.count(Frame::Used));
        assert_eq!(self.buddy.largest_free_order(), blocks.iter().map(|block| block.order).max());
        for order in 0..=MAX_ORDER {
            let count = blocks.iter().filter(|block| block.order == order).count();
            assert_eq!(self.buddy.free_blocks(order), count as u64, "free blocks of order {order}");
        }
        for block in blocks {
            assert_eq!(self.buddy.free_block_of(block.first_frame), Some(block));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(192) })]

    #[test]
    fn every_step_does_what_the_naive_model_does(
        boundaries in prop::collection::vec(SPAN, 2..8),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut walk = Walk::new();
        // Memory at the start: every second range between random boundaries.
        let mut boundaries = boundaries;
        boundaries.sort_unstable();
        for pair in boundaries.chunks_exact(2) {
            walk.step(Step::Add(pair[0]..pair[1]));
        }
        for step in steps {
            walk.step(step);
            walk.compare();
        }
        // All freed, in the order in which it lies: the state of the same memory never used.
        while !walk.held.is_empty() {
            walk.step(Step::FreeRun(0));
        }
        walk.compare();
        prop_assert_eq!(walk.buddy.free_frames(), walk.buddy.total());
    }
}
