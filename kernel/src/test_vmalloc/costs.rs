//! What waiting for locks and flushing TLBs cost a run of the benchmark, in the last lines of its output.

use crate::{arch::tlb, println, sync::waits};

/// Counts of all CPUs.
pub(super) struct Costs {
    waits: u64,
    interrupts: u64,
    full: u64,
    pages: u64,
}

impl Costs {
    /// Since they were last reset.
    pub fn now() -> Self {
        Self {
            waits: waits::total(),
            interrupts: tlb::total(|counters| &counters.sent),
            full: tlb::total(|counters| &counters.full),
            pages: tlb::total(|counters| &counters.pages),
        }
    }

    /// What was added since `before`; a reset meanwhile makes it too little.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            waits: self.waits - before.waits,
            interrupts: self.interrupts.saturating_sub(before.interrupts),
            full: self.full.saturating_sub(before.full),
            pages: self.pages.saturating_sub(before.pages),
        }
    }

    /// Prints the lines, for so many loops of all workers and cases together.
    pub fn print(&self, loops: u64) {
        let Self { waits, interrupts, full, pages } = self;
        let rate = |count: u64| u128::from(count) * 1_000_000 / u128::from(loops.max(1));
        println!("Locks: {waits} waits; {} per million loops", rate(*waits));
        println!(
            "TLB: {interrupts} interrupts, {full} full flushes, {pages} pages flushed one by one; \
             {} interrupts per million loops",
            rate(*interrupts)
        );
    }
}
