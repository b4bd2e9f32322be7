//! Finding several runs of free blocks at once, at set distances from one base.
//!
//! The lowest base is found part by part, in turn: where a part does not fit, the next free run that is
//! long enough for it tells the lowest base that remains, and all parts must fit again. No base is passed
//! over at which all fit. A search that goes on for long releases the lock in between.

use super::{Arena, ArenaError, map::Map, search::aligned, state::State};
use crate::Platform;

/// One of the runs that are to be found at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Blocks from the base to its first one.
    pub offset: usize,
    /// Number of blocks.
    pub count: usize,
}

/// Steps of a search under one hold of the lock.
const AT_ONCE: usize = 32;

/// What came of a search.
enum Search {
    Found(usize),
    /// No base below this one will do.
    Onward(usize),
    Nothing,
}

impl State {
    /// Finds the lowest base at or above `from` that is, together with `offset`, a multiple of `align` and at
    /// which all parts are free.
    fn find_congruent(&mut self, parts: &[Part], align: usize, offset: usize, from: usize) -> Search {
        let span = parts.iter().map(|part| part.offset + part.count).max().unwrap_or(0);
        let mut base = aligned(from, align, offset);
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
                return Search::Onward(base);
            }
        }
        Search::Nothing
    }

    fn missing_map_of(&self, base: usize, parts: &[Part]) -> Option<usize> {
        parts.iter().find_map(|part| self.missing_map(base + part.offset, part.count))
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
    ) -> Result<usize, ArenaError> {
        let mut spare: Option<Map> = None;
        let mut from = 0;
        // Ends as in `take`, or with the range: a search that goes on begins at a higher base.
        let result = loop {
            let pin = platform.pin();
            let mut state = self.state.lock(&pin);
            let base = match state.find_congruent(parts, align, offset, from) {
                Search::Found(base) => base,
                Search::Onward(base) => {
                    from = base;
                    continue;
                }
                Search::Nothing => break Err(ArenaError::NoRun),
            };
            let Some(missing) = state.missing_map_of(base, parts) else {
                drop(state);
                drop(pin);
                if self.claim(platform, parts.iter().map(|part| (base + part.offset, part.count))) {
                    break Ok(base);
                }
                continue;
            };
            if let Some(map) = spare.take() {
                state.install(missing, map);
                continue;
            }
            drop(state);
            spare = Map::take(platform);
            if spare.is_none() {
                break Err(ArenaError::NoFrame);
            }
        };
        if let Some(map) = spare {
            platform.give_table(map.into_frame(platform));
        }
        result
    }
}
