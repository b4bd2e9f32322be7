//! What came of the calls.

use crate::{arch::tlb, services::Experiment};
use core::{fmt, ops::AddAssign};
use protocol::replay::Action;

/// Calls of a kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kind {
    pub calls: u64,
    /// Those that were refused; frees of what was refused are no calls.
    pub failed: u64,
    pub pages: u64,
    pub cycles: u64,
}

/// Names of the kinds, in the order of [`Kinds::of`].
const NAMES: [&str; 7] =
    ["vmalloc", "vfree", "vmap", "vunmap", "vm_map_ram", "vm_unmap_ram", "vm_unmap_aliases"];

/// Counts of all kinds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kinds([Kind; NAMES.len()]);

impl Kinds {
    pub fn of(&mut self, action: Action) -> &mut Kind {
        &mut self.0[match action {
            Action::Vmalloc { .. } => 0,
            Action::Vfree => 1,
            Action::Vmap { .. } => 2,
            Action::Vunmap => 3,
            Action::VmMapRam { .. } => 4,
            Action::VmUnmapRam => 5,
            Action::VmUnmapAliases => 6,
        }]
    }
}

impl AddAssign for Kinds {
    fn add_assign(&mut self, other: Self) {
        for (kind, more) in self.0.iter_mut().zip(other.0) {
            kind.calls += more.calls;
            kind.failed += more.failed;
            kind.pages += more.pages;
            kind.cycles += more.cycles;
        }
    }
}

/// What the instance and the CPUs have done at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    purges: u64,
    purged: u64,
    interrupts: u64,
    full: u64,
    single: u64,
}

impl Moment {
    pub fn now(instance: &Experiment) -> Self {
        let tally = instance.tally();
        Self {
            purges: tally.purges,
            purged: tally.purged,
            interrupts: tlb::total(|counters| &counters.sent),
            full: tlb::total(|counters| &counters.full),
            single: tlb::total(|counters| &counters.pages),
        }
    }

    /// What was added since `before`.
    fn since(&self, before: &Self) -> Self {
        Self {
            purges: self.purges - before.purges,
            purged: self.purged - before.purged,
            interrupts: self.interrupts.saturating_sub(before.interrupts),
            full: self.full.saturating_sub(before.full),
            single: self.single.saturating_sub(before.single),
        }
    }
}

/// What came of a replay. Written as lines of a name, and words and numbers in turn, of which the host makes a table.
pub struct Counts {
    pub(super) kinds: Kinds,
    pub(super) before: Moment,
    pub(super) after: Moment,
    pub(super) cycles_of_nothing: u64,
    pub(super) microseconds: u64,
    pub(super) cpus: usize,
    pub(super) peak_pages: u64,
    pub(super) peak_lazy: i64,
    pub(super) used_at_end: usize,
    pub(super) largest_free_run_at_end: usize,
    pub(super) total_pages: usize,
    pub(super) kilohertz: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, kind) in NAMES.iter().zip(&self.kinds.0) {
            let Kind { calls, failed, pages, cycles } = *kind;
            let cycles = cycles.saturating_sub(calls * self.cycles_of_nothing);
            writeln!(f, "{name}: calls {calls} failed {failed} pages {pages} cycles {cycles}")?;
        }
        let Moment { purges, purged, interrupts, full, single } = self.after.since(&self.before);
        writeln!(f, "purges: purges {purges} pages {purged} most_waiting {}", self.peak_lazy)?;
        writeln!(f, "flushes: interrupts {interrupts} full {full} single {single}")?;
        let (used, run) = (self.used_at_end, self.largest_free_run_at_end);
        let total = self.total_pages;
        writeln!(f, "space: peak {} used {used} largest_free_run {run} total {total}", self.peak_pages)?;
        let Self { microseconds, cpus, kilohertz, .. } = self;
        write!(f, "run: microseconds {microseconds} cpus {cpus} kilohertz {kilohertz}")
    }
}
