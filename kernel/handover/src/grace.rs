//! Grace periods: waiting until nobody can still be looking at what was taken out of reach.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// How often a CPU had no reader: a *reader* is any section with preemption off. Each CPU counts its own
/// [passes](Self::pass), and all look at them.
#[derive(Debug)]
#[repr(align(64))]
pub struct Passes(AtomicU64);

impl Passes {
    /// Those of a CPU that has not passed yet.
    #[cfg(not(loom))]
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Those of a CPU that has not passed yet. Loom's atomics cannot be made in a constant.
    #[cfg(loom)]
    #[must_use]
    pub fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Notes that there is no reader on this CPU, which these passes are of. Nothing interrupts the call there.
    pub fn pass(&self) {
        // Release: all that the readers before did comes first. The fence: the readers behind see what was
        // done before the grace period that this count lets go.
        self.0.store(self.0.load(Ordering::Relaxed) + 1, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// Acquire: who sees that the CPU passed again sees what its readers did before.
    fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Default for Passes {
    fn default() -> Self {
        Self::new()
    }
}

/// A grace period: it is over when each of up to `CPUS` CPUs has [passed](Passes::pass) since it started, and so when all
/// readers are done that had begun by then.
#[derive(Debug)]
pub struct GracePeriod<const CPUS: usize> {
    /// How often each had passed when it started.
    before: [u64; CPUS],
}

impl<const CPUS: usize> GracePeriod<CPUS> {
    /// One that has not started.
    #[must_use]
    pub const fn new() -> Self {
        Self { before: [0; CPUS] }
    }

    /// Starts it anew, for the CPUs that `cpus` tells of. It is asked when all can see what was done before, so that the
    /// readers of a CPU that it leaves out see that, too.
    pub fn start<'a, C: IntoIterator<Item = (usize, &'a Passes)>>(&mut self, cpus: impl FnOnce() -> C) {
        // Together with that of `pass`: a reader that is not waited for sees what was done before.
        fence(Ordering::SeqCst);
        for (cpu, passes) in cpus() {
            self.before[cpu] = passes.count();
        }
    }

    /// Returns whether a CPU, whose passes these are, has not passed since it started.
    #[must_use]
    pub fn is_late(&self, cpu: usize, passes: &Passes) -> bool {
        passes.count() == self.before[cpu]
    }

    /// Ends it: no CPU is [late](Self::is_late). What is done afterwards comes after all that the readers did.
    pub fn end(&self) {
        fence(Ordering::SeqCst);
    }
}

impl<const CPUS: usize> Default for GracePeriod<CPUS> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, loom))]
mod models;
