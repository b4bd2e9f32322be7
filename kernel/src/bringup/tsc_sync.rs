//! Whether the time stamp counters of two CPUs show the same time.
//!
//! One asks, the other answers with its counter; the answer must lie between the counts that the first
//! reads before it asks and after it is answered. What is less apart than a message takes is not seen, and
//! hurts nobody: time is never passed on faster.

use crate::arch::tsc;
use calibration::out_of_step;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Questions; the answer that was on its way shortest tells most.
const ROUNDS: u32 = 16;
/// Microseconds that an answer is waited for. Later ones tell nothing.
const LIMIT: u64 = 10_000;

/// Questions from one CPU to another.
pub(super) struct Exchange {
    asked: AtomicU32,
    answered: AtomicU32,
    /// The other's counter when it answered last.
    time: AtomicU64,
}

impl Exchange {
    pub const fn new() -> Self {
        Self { asked: AtomicU32::new(0), answered: AtomicU32::new(0), time: AtomicU64::new(0) }
    }

    /// By how many cycles the counter of the CPU that [answers](Self::answer) is out of step with that of the
    /// CPU this runs on, at least; 0 if nothing was seen.
    pub fn ask(&self) -> u64 {
        let mut worst = 0;
        for round in 1..=ROUNDS {
            let before = tsc::now();
            // A counter is read before the store that follows can be seen, and after the load before it.
            self.asked.store(round, Ordering::Release);
            if !tsc::spin_until(LIMIT, || self.answered.load(Ordering::Acquire) == round) {
                break;
            }
            let after = tsc::now();
            worst = worst.max(out_of_step(before, self.time.load(Ordering::Relaxed), after));
        }
        worst
    }

    /// Answers if asked; to be called again and again.
    pub fn answer(&self) {
        let asked = self.asked.load(Ordering::Acquire);
        if asked != self.answered.load(Ordering::Relaxed) {
            self.time.store(tsc::now(), Ordering::Relaxed);
            self.answered.store(asked, Ordering::Release);
        }
    }
}
