//! The records of all CPUs in one row.

use super::ring::{RECORDS, Record, Ring};
use alloc::vec::Vec;
use core::ops::Range;

/// What was traced until it was made, the oldest first. Each record is read when its turn comes.
pub struct Dump<'a> {
    cursors: Vec<Cursor<'a>>,
    overwritten: u64,
}

/// How far a ring was read.
struct Cursor<'a> {
    ring: &'a Ring,
    /// Records that were not read yet.
    numbers: Range<u64>,
    /// The one that was read last, and not yet given out.
    next: Option<Record>,
}

impl<'a> Dump<'a> {
    pub(super) fn new(rings: &'a [Ring]) -> Self {
        let mut overwritten = 0;
        let cursors = rings.iter().map(|ring| {
            let all = ring.numbers();
            let first = all.end.saturating_sub(RECORDS as u64).max(all.start);
            overwritten += first - all.start;
            let mut cursor = Cursor { ring, numbers: first..all.end, next: None };
            overwritten += cursor.advance();
            cursor
        });
        let cursors = cursors.collect();
        Self { cursors, overwritten }
    }

    /// Records that are left, if none of them is overwritten meanwhile.
    #[must_use]
    pub fn left(&self) -> u64 {
        let of = |cursor: &Cursor<'_>| {
            cursor.numbers.end - cursor.numbers.start + u64::from(cursor.next.is_some())
        };
        self.cursors.iter().map(of).sum()
    }

    /// Records that were overwritten by newer ones before they were read: all of them once the iterator
    /// has ended.
    pub fn overwritten(&self) -> u64 {
        self.overwritten
    }
}

impl Iterator for Dump<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let time = |cursor: &&mut Cursor<'_>| cursor.next.map_or(u64::MAX, |record| record.time);
        let oldest = self.cursors.iter_mut().min_by_key(time)?;
        let record = oldest.next.take();
        self.overwritten += oldest.advance();
        record
    }
}

impl Cursor<'_> {
    /// Reads the next record that is still there: how many are not.
    fn advance(&mut self) -> u64 {
        let mut overwritten = 0;
        self.next = self.numbers.by_ref().find_map(|number| {
            let record = self.ring.read(number);
            overwritten += u64::from(record.is_none());
            record
        });
        overwritten
    }
}
