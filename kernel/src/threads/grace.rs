//! Grace periods: waiting until nobody can still be looking at what was taken out of reach.
//!
//! A *reader* is any section with preemption off: it needs no lock and no count. Code that is not in one
//! is in no old one either; so when every CPU has passed a moment at which nothing was pinned to it, all
//! readers that had begun before are done.
//!
//! A [`GracePeriod`] can be started first and waited for later; each CPU's thread `rcu` does that for deferred frees.

use super::{
    scheduler::{passes, schedule},
    waiting::{
        context::{assert_may_block, may_block},
        sleep::sleep,
    },
};
use crate::arch::{
    apic::{self, Vector},
    cpu::{self, MAX_CPUS, Pin},
    cpu_set::CpuSet,
};

/// Microseconds between looks at CPUs that do not pass at once.
const PATIENCE: u64 = 1000;
/// Looks before that is waited for.
const LOOKS: usize = 100;

/// Waits for a grace period: until every reader that had begun before the call is done, on all CPUs.
/// What was done before the call is seen by all readers that begin after it returns.
///
/// # Panics
/// The caller may not wait, being a reader itself perhaps: see [`assert_may_block`].
#[track_caller]
pub fn synchronize() {
    let mut period = GracePeriod::new();
    period.start();
    period.wait();
}

/// Waits for a grace period as [`synchronize`] does, if the caller may wait; answers whether it did.
pub(crate) fn try_synchronize() -> bool {
    let may = may_block();
    if may {
        synchronize();
    }
    may
}

/// A grace period that is waited for later: what is done meanwhile is often longer than it takes.
#[derive(Debug)]
pub struct GracePeriod {
    others: CpuSet,
    period: handover::GracePeriod<MAX_CPUS>,
}

impl GracePeriod {
    /// One that is over.
    #[must_use]
    pub const fn new() -> Self {
        Self { others: CpuSet::EMPTY, period: handover::GracePeriod::new() }
    }

    /// Starts it anew: [`wait`](Self::wait) waits for the readers that have begun by now.
    ///
    /// # Panics
    /// The caller may not wait, being a reader itself perhaps: see [`assert_may_block`].
    #[track_caller]
    pub fn start(&mut self) {
        assert_may_block("GracePeriod::start");
        let others = &mut self.others;
        self.period.start(|| {
            // There is no reader on this CPU while this thread runs there.
            *others = cpu::online().without(CpuSet::from_bits(1 << Pin::new().cpu()));
            others.iter().map(|cpu| (cpu, passes::of(cpu)))
        });
    }

    /// Whether it is over. It will be without anybody's doing: each CPU passes at its next tick or switch, if
    /// nothing is pinned then.
    pub fn is_over(&self) -> bool {
        let over = self.late().next().is_none();
        if over {
            self.period.end();
        }
        over
    }

    /// Waits until it is over, and interrupts those for whom it is not.
    ///
    /// # Panics
    /// The caller may not wait: see [`assert_may_block`].
    #[track_caller]
    pub fn wait(&self) {
        assert_may_block("GracePeriod::wait");
        self.late().for_each(|cpu| apic::send(cpu, Vector::Reschedule));
        let mut looks = 0;
        for cpu in self.late() {
            while self.is_late(cpu) {
                match looks {
                    LOOKS => sleep(PATIENCE),
                    _ => {
                        looks += 1;
                        schedule::yield_now();
                    }
                }
            }
        }
        self.period.end();
    }

    fn is_late(&self, cpu: usize) -> bool {
        self.period.is_late(cpu, passes::of(cpu))
    }

    /// The CPUs that have not passed since it started.
    fn late(&self) -> impl Iterator<Item = usize> {
        self.others.iter().filter(|&cpu| self.is_late(cpu))
    }
}

impl Default for GracePeriod {
    fn default() -> Self {
        Self::new()
    }
}
