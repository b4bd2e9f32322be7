//! The last events of one CPU.

use super::{Who, slot::Slot};
use alloc::{collections::TryReserveError, vec::Vec};
use core::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};
use vmalloc::Event;

/// Records that a CPU keeps.
pub const RECORDS: usize = 1024;

/// An event, when and where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The CPU's time stamp counter, in cycles.
    pub time: u64,
    /// Number of the CPU.
    pub cpu: usize,
    /// The thread that ran.
    pub who: Who,
    /// What happened.
    pub event: Event,
}

/// Records are numbered from 0; each is in the slot of its number modulo [`RECORDS`].
#[repr(align(64))]
pub(super) struct Ring {
    cpu: usize,
    /// Number of the next record. Only its CPU changes it, with interrupts off.
    next: AtomicU64,
    /// Records below were cleared.
    cleared: AtomicU64,
    slots: Vec<Slot>,
}

impl Ring {
    /// An empty ring, of CPU number `cpu`.
    pub fn new(cpu: usize) -> Result<Self, TryReserveError> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(RECORDS)?;
        slots.resize_with(RECORDS, Slot::new);
        Ok(Self { cpu, next: AtomicU64::new(0), cleared: AtomicU64::new(0), slots })
    }

    /// Called on the ring's CPU, with interrupts off.
    pub fn push(&self, time: u64, who: Who, event: Event) {
        let number = self.next.load(Ordering::Relaxed);
        self.slot(number).write(number, time, who, event);
        // Release: who sees the number finds the record, or a later one.
        self.next.store(number + 1, Ordering::Release);
    }

    /// Numbers of the records that were not cleared; the first of them may be overwritten.
    pub fn numbers(&self) -> Range<u64> {
        // In this order: what is cleared was written.
        let cleared = self.cleared.load(Ordering::Acquire);
        cleared..self.next.load(Ordering::Acquire)
    }

    /// `None`: the record was overwritten.
    pub fn read(&self, number: u64) -> Option<Record> {
        let (time, who, event) = self.slot(number).read(number)?;
        Some(Record { time, cpu: self.cpu, who, event })
    }

    /// Forgets all records.
    pub fn clear(&self) {
        self.cleared.store(self.next.load(Ordering::Acquire), Ordering::Release);
    }

    fn slot(&self, number: u64) -> &Slot {
        &self.slots[number as usize % RECORDS]
    }
}
