//! Reserves of leaf tables: each CPU caches a few that went out of use, full of zeros and flushed, so that a loop that
//! allocates and frees an area of some blocks does not clear 4 KiB for each of them every time.

use crate::{
    CpuPin, Frame, LockClass,
    lock::{Lock, Locked},
    percpu::{Part, place},
};

/// The most leaf tables that a CPU's reserve can hold.
pub(super) const CAPACITY: usize = 16;

/// Leaf tables out of use: all their entries are zero and no CPU has cached a way to them.
pub(super) struct Reserve(Lock<Tables>);

struct Tables {
    tables: [Frame; CAPACITY],
    count: usize,
}

impl Locked for Tables {
    const CLASS: LockClass = LockClass::Reserve;
}

impl Part for Reserve {
    const AT: usize = place::RESERVE;

    fn new(_: bool) -> Self {
        Self(Lock::new(Tables { tables: [Frame::new(0); CAPACITY], count: 0 }))
    }
}

impl Reserve {
    /// Takes a table out, if there is one.
    pub fn pop(&self, pin: &impl CpuPin) -> Option<Frame> {
        let mut reserve = self.0.lock(pin);
        reserve.count = reserve.count.checked_sub(1)?;
        Some(reserve.tables[reserve.count])
    }

    /// Puts a table in. `Err` returns it to the caller if there are `limit` already.
    pub fn push(&self, pin: &impl CpuPin, table: Frame, limit: usize) -> Result<(), Frame> {
        let mut reserve = self.0.lock(pin);
        let count = reserve.count;
        if count >= limit.min(CAPACITY) {
            return Err(table);
        }
        reserve.tables[count] = table;
        reserve.count += 1;
        Ok(())
    }

    pub fn len(&self, pin: &impl CpuPin) -> usize {
        self.0.lock(pin).count
    }
}
