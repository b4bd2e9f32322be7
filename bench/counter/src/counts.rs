//! The counts of each CPU, and the file that they are written to.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// CPUs that a machine may have.
pub const CPUS: usize = 32;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Kind {
    /// Instructions.
    Instructions,
    /// Instructions that lock.
    Locked,
    /// Cache lines that came from another CPU, or were taken from it.
    Lines,
    /// `invlpg`.
    Invlpg,
    /// Writes of CR3.
    Cr3,
    /// Writes of CR4.
    Cr4,
    /// Returns from interrupts and exceptions.
    Interrupts,
    /// `pause`, one for each turn of a loop that waits.
    Pauses,
    /// Accesses to memory whose physical address QEMU did not say, or that lies beyond the table of lines.
    Unseen,
}

/// The names of the kinds, by their numbers; they head the file's columns.
pub const NAMES: [&str; 9] =
    ["instructions", "locked", "lines", "invlpg", "cr3", "cr4", "interrupts", "pauses", "unseen"];

impl Kind {
    /// The kind of this number, as `as usize` gave it.
    #[must_use]
    pub fn of(number: usize) -> Option<Self> {
        use Kind::{Cr3, Cr4, Instructions, Interrupts, Invlpg, Lines, Locked, Pauses, Unseen};
        let all = [Instructions, Locked, Lines, Invlpg, Cr3, Cr4, Interrupts, Pauses, Unseen];
        all.get(number).copied()
    }
}

/// The counts of one CPU, in cache lines of their own.
#[repr(align(128))]
struct OfCpu([AtomicU64; NAMES.len()]);

/// The counts of all CPUs.
pub struct Counts([OfCpu; CPUS]);

impl Counts {
    /// All are zero.
    #[must_use]
    pub const fn new() -> Self {
        Self([const { OfCpu([const { AtomicU64::new(0) }; NAMES.len()]) }; CPUS])
    }

    /// Adds to a CPU's count. Only the thread that runs this CPU may call this: two that add at once lose one of both.
    ///
    /// # Panics
    /// If there is no such CPU.
    pub fn add(&self, cpu: usize, kind: Kind, amount: u64) {
        let count = &self.0[cpu].0[kind as usize];
        count.store(count.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
    }

    /// What the counts of the first `cpus` are now: a line for each, that begins with `snapshot` and the CPU's number.
    /// CPUs that run meanwhile are a little further on when their line is made.
    #[must_use]
    pub fn lines(&self, snapshot: usize, cpus: usize) -> String {
        let mut text = String::new();
        for (cpu, counts) in self.0.iter().take(cpus).enumerate() {
            let _ = write!(text, "{snapshot} {cpu}");
            for count in &counts.0 {
                let _ = write!(text, " {}", count.load(Ordering::Relaxed));
            }
            text.push('\n');
        }
        text
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self::new()
    }
}

/// The first line of the file, which names the columns.
#[must_use]
pub fn heading() -> String {
    format!("snapshot cpu {}\n", NAMES.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_known_by_their_numbers() {
        for number in 0..NAMES.len() {
            assert_eq!(Kind::of(number).unwrap() as usize, number);
        }
        assert_eq!(Kind::of(NAMES.len()), None);
    }

    /// Seen failing with the counts of one CPU given for all.
    #[test]
    fn each_cpu_has_its_counts_below_the_names() {
        let counts = Counts::new();
        counts.add(1, Kind::Lines, 2);
        counts.add(1, Kind::Lines, 3);
        counts.add(0, Kind::Unseen, 7);
        assert_eq!(
            heading(),
            "snapshot cpu instructions locked lines invlpg cr3 cr4 interrupts pauses unseen\n"
        );
        assert_eq!(counts.lines(4, 2), "4 0 0 0 0 0 0 0 0 0 7\n4 1 0 0 5 0 0 0 0 0 0\n");
    }
}
