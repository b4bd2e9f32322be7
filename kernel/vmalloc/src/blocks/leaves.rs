//! Leaf tables: taken from the CPU's reserve or from the machine, and given back.

use super::{Blocks, reserve::CAPACITY};
use crate::{CpuPin, Frame, Platform, Returned, page_table::directories};
use core::{iter, ops::Range, sync::atomic::Ordering};

impl<P: Platform> Blocks<P> {
    /// Takes a leaf table, full of zeros; `None` if there is no frame.
    pub(super) fn take_leaf(&self) -> Option<Frame> {
        let pin = self.platform().pin();
        let reserved = self.reserves.of(pin.cpu()).pop(&pin);
        drop(pin);
        reserved.or_else(|| directories::take_table(self.platform()))
    }

    /// Takes back a leaf table, unlinked and flushed, whose entries are all zero.
    pub fn give_leaf(&self, leaf: Frame) {
        let pin = self.platform().pin();
        let limit = self.base.tunables.table_reserve.load(Ordering::Relaxed);
        if let Err(leaf) = self.reserves.of(pin.cpu()).push(&pin, leaf, limit) {
            self.platform().give_table(Returned::new(leaf));
        }
    }

    /// Returns how many leaf tables are in the current CPU's reserve.
    pub fn reserved_leaves_here(&self) -> usize {
        let pin = self.platform().pin();
        self.reserves.of(pin.cpu()).len(&pin)
    }

    /// Returns how many leaf tables are in all reserves.
    pub fn reserved_leaves(&self) -> usize {
        self.reserves.iter().map(|reserve| reserve.len(&self.platform().pin())).sum()
    }

    /// Gives the reserves of these CPUs back to the machine.
    pub fn empty_reserves(&self, cpus: Range<usize>) {
        for reserve in self.reserves.parts(cpus) {
            // No more than it can hold: its CPU may add to it meanwhile.
            let leaves = iter::from_fn(|| reserve.pop(&self.platform().pin())).take(CAPACITY);
            leaves.for_each(|leaf| self.platform().give_table(Returned::new(leaf)));
        }
    }
}
