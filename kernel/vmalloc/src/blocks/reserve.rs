//! Leaf tables in reserve: each CPU caches a few that went out of use, full of zeros and flushed, so that an area of
//! some blocks that comes and goes does not clear 4 KiB for each of them every time.

use super::Blocks;
use crate::{
    CpuPin, Frame, LockClass, Platform,
    lock::{Lock, Locked},
};
use core::sync::atomic::Ordering;

/// The most leaf tables that a CPU's reserve can hold.
const CAPACITY: usize = 16;

/// Leaf tables out of use: all their entries are zero and no CPU has cached a way to them.
pub(super) struct Reserve(Lock<Tables>);

struct Tables {
    tables: [Frame; CAPACITY],
    count: usize,
}

impl Locked for Tables {
    const CLASS: LockClass = LockClass::Reserve;
}

impl Reserve {
    pub const fn new() -> Self {
        Self(Lock::new(Tables { tables: [Frame::new(0); CAPACITY], count: 0 }))
    }

    fn pop(&self, pin: &impl CpuPin) -> Option<Frame> {
        let mut reserve = self.0.lock(pin);
        reserve.count = reserve.count.checked_sub(1)?;
        Some(reserve.tables[reserve.count])
    }

    /// Gives the table back to the caller if there are `limit` already.
    fn push(&self, pin: &impl CpuPin, table: Frame, limit: usize) -> Result<(), Frame> {
        let mut reserve = self.0.lock(pin);
        let count = reserve.count;
        if count >= limit.min(CAPACITY) {
            return Err(table);
        }
        reserve.tables[count] = table;
        reserve.count += 1;
        Ok(())
    }

    fn len(&self, pin: &impl CpuPin) -> usize {
        self.0.lock(pin).count
    }
}

impl<P: Platform> Blocks<P> {
    pub(super) fn take_leaf(&self) -> Option<Frame> {
        let pin = self.platform().pin();
        let reserved = self.reserves[pin.cpu()].pop(&pin);
        drop(pin);
        reserved.or_else(|| self.platform().take_table())
    }

    /// Takes back a leaf table, unlinked and flushed, whose entries are all zero.
    pub fn give_leaf(&self, leaf: Frame) {
        let pin = self.platform().pin();
        let limit = self.base.tunables.table_reserve.load(Ordering::Relaxed);
        if let Err(leaf) = self.reserves[pin.cpu()].push(&pin, leaf, limit) {
            self.platform().give_table(leaf);
        }
    }

    /// Leaf tables in the current CPU's reserve.
    pub fn reserved_leaves_here(&self) -> usize {
        let pin = self.platform().pin();
        self.reserves[pin.cpu()].len(&pin)
    }

    /// Leaf tables in all reserves.
    pub fn reserved_leaves(&self) -> usize {
        self.reserves.iter().map(|reserve| reserve.len(&self.platform().pin())).sum()
    }

    /// Gives all reserves back to the machine.
    pub fn empty_reserves(&self) {
        for reserve in &self.reserves {
            // As many as it held at most: its CPU may add to it meanwhile.
            for _ in 0..CAPACITY {
                let Some(leaf) = reserve.pop(&self.platform().pin()) else { break };
                self.platform().give_table(leaf);
            }
        }
    }
}
