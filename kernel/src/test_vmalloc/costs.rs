//! What waiting for locks and flushing TLBs cost a run of the benchmark, in the last lines of its output.

use crate::{arch::tlb, println, sync::waits};
use core::fmt;

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
        println!("Locks: {waits} waits{}", PerMillion { what: "", count: *waits, loops });
        println!(
            "TLB: {interrupts} interrupts, {full} full flushes, {pages} pages flushed one by one{}",
            PerMillion { what: "interrupts ", count: *interrupts, loops }
        );
    }
}

/// The end of a line that began with a count: how many that would be in a million loops. After so few loops that one
/// more would change it much it is empty: the count itself says all.
#[derive(Clone, Copy, Debug)]
pub struct PerMillion {
    /// What is counted, with a space behind it; may be empty.
    pub what: &'static str,
    /// How many there were.
    pub count: u64,
    /// In how many loops.
    pub loops: u64,
}

impl PerMillion {
    /// Loops from which on it is shown.
    pub const LEAST_LOOPS: u64 = 10_000;
}

impl fmt::Display for PerMillion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.loops < Self::LEAST_LOOPS {
            return Ok(());
        }
        let rate = u128::from(self.count) * 1_000_000 / u128::from(self.loops);
        write!(f, "; {rate} {}per million loops", self.what)
    }
}
