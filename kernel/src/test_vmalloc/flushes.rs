//! What flushing TLBs cost a run of the benchmark, in the last line of its output.

use crate::{arch::tlb, println};

/// Counts of all CPUs.
pub(super) struct Flushes {
    interrupts: u64,
    full: u64,
    pages: u64,
}

impl Flushes {
    /// Since they were last reset.
    pub fn now() -> Self {
        Self {
            interrupts: tlb::total(|counters| &counters.sent),
            full: tlb::total(|counters| &counters.full),
            pages: tlb::total(|counters| &counters.pages),
        }
    }

    /// What was added since `before`; a reset meanwhile makes it too little.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            interrupts: self.interrupts.saturating_sub(before.interrupts),
            full: self.full.saturating_sub(before.full),
            pages: self.pages.saturating_sub(before.pages),
        }
    }

    /// Prints the line, for so many loops of all workers and cases together.
    pub fn print(&self, loops: u64) {
        let Self { interrupts, full, pages } = self;
        let rate = u128::from(*interrupts) * 1_000_000 / u128::from(loops.max(1));
        println!(
            "TLB: {interrupts} interrupts, {full} full flushes, {pages} pages flushed one by one; \
             {rate} interrupts per million loops"
        );
    }
}
