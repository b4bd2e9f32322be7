//! Finding several runs of free blocks at once, at set distances from one base.
//!
//! The lowest base is found part by part, in turn: where a part does not fit, the next free run that is
//! long enough for it tells the lowest base that remains, and all parts must fit again. No base is passed
//! over at which all fit. A search that goes on for long releases the lock in between.

use super::{
    search::{Part, Search, aligned},
    shared::Arena,
    state::State,
};
use crate::{AllocError, Platform};

/// Steps of a search under one hold of the lock.
const AT_ONCE: usize = 32;

impl State {
    /// Finds the lowest base at or above `from` that is, together with `offset`, a multiple of `align` and at
    /// which all parts are free. A search that goes on raises `from`.
    fn find_congruent(&mut self, parts: &[Part], align: usize, offset: usize, from: &mut usize) -> Search {
        let span = parts.iter().map(|part| part.offset + part.count).max().unwrap_or(0);
        let mut base = aligned(*from, align, offset);
        let (mut fitting, mut steps) = (0, 0);
        for part in parts.iter().cycle() {
            if base + span > self.blocks {
                break;
            }
            if fitting == parts.len() {
                return Search::Found(base);
            }
            steps += 1;
            let first = base + part.offset;
            let Some(run) = self.next_run(first, part.count) else { break };
            let lowest = aligned(run - part.offset, align, offset);
            if lowest == base {
                fitting += 1;
                continue;
            }
            (base, fitting) = (lowest, 0);
            if steps >= AT_ONCE {
                *from = base;
                return Search::Onward;
            }
        }
        Search::Nothing
    }
}

impl Arena {
    /// Takes all parts, none empty and no two overlapping, at the lowest base that is, together with
    /// `offset`, a multiple of `align` and at which all are free. Returns the base.
    pub fn allocate_congruent<P: Platform>(
        &self,
        platform: &P,
        parts: &[Part],
        align: usize,
        offset: usize,
    ) -> Result<usize, AllocError> {
        let mut from = 0;
        self.take(platform, parts, |state| state.find_congruent(parts, align, offset, &mut from))
    }
}
