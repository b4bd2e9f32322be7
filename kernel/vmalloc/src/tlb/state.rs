//! What a machine tells of its CPUs: how many there are, which are online, isolated, idle.

use super::{
    counters::Counters,
    cpus::{AtomicCpuSet, CpuSet},
    flusher::Flusher,
    mailbox::Mailbox,
};
use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use core::fmt;

/// Above [`Stamp::NEVER`](super::Stamp::NEVER).
const FIRST_EPOCH: u64 = 1;
pub(super) const IDLE: u32 = 1;
pub(super) const ISOLATED: u32 = 2;

/// What a [`Shootdown`] knows of the TLB of one CPU. A machine of several CPUs has a `static` array of them.
#[doc(alias = "cpu_tlbstate")]
#[cfg_attr(loom, derive(Default))]
#[repr(align(128))]
pub struct TlbState {
    pub(super) flushed: AtomicU64,
    pub(super) state: AtomicU32,
    pub(super) mailbox: Mailbox,
    /// Beginnings and ends of read-side sections: odd within one. Only on a machine that broadcasts.
    pub(super) sections: AtomicU32,
    pub(super) counters: Counters,
}

#[cfg(not(loom))]
impl TlbState {
    /// Makes the state of a CPU that is not [online](Shootdown::set_online) yet.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it is made in a static, where only a const fn can be called"
    )]
    pub const fn new() -> Self {
        Self {
            flushed: AtomicU64::new(0),
            state: AtomicU32::new(0),
            mailbox: Mailbox::new(),
            sections: AtomicU32::new(0),
            counters: Counters::new(),
        }
    }
}

/// TLB shootdown by epochs: knows which CPUs may still use old translations, and makes them forget. It
/// interrupts only CPUs that have not flushed since. A machine has one, however many instances it has, and
/// tells it about its CPUs by [`set_online`](Self::set_online), [`answer`](Self::answer),
/// [`enter_idle`](Self::enter_idle) and [`leave_idle`](Self::leave_idle).
pub struct Shootdown {
    pub(super) epoch: AtomicU64,
    online: AtomicCpuSet,
    /// Number of CPUs online.
    count: AtomicU32,
    first: TlbState,
    others: &'static [TlbState],
}

/// Writes which CPUs are online.
impl fmt::Debug for Shootdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shootdown").field("online", &self.online.load()).finish_non_exhaustive()
    }
}

#[cfg(not(loom))]
impl Shootdown {
    /// Makes one for a machine that has CPU 0 and one more CPU for each state in `others`, none of which is
    /// [online](Self::set_online) yet: CPU n has `others[n - 1]`.
    ///
    /// ```
    /// use vmalloc::{Shootdown, TlbState};
    ///
    /// static ONE_CPU: Shootdown = Shootdown::new(&[]);
    ///
    /// static OTHERS: [TlbState; 15] = [const { TlbState::new() }; 15];
    /// static SIXTEEN_CPUS: Shootdown = Shootdown::new(&OTHERS);
    /// ```
    ///
    /// # Panics
    /// If there are more than [`MAX_CPUS`](crate::MAX_CPUS) CPUs.
    #[must_use]
    pub const fn new(others: &'static [TlbState]) -> Self {
        assert!(others.len() < crate::MAX_CPUS, "a machine has at most MAX_CPUS CPUs");
        Self {
            epoch: AtomicU64::new(FIRST_EPOCH),
            online: AtomicCpuSet::new(),
            count: AtomicU32::new(0),
            first: TlbState::new(),
            others,
        }
    }
}

#[cfg(loom)]
impl Shootdown {
    /// Makes one for a machine that has CPU 0 and as many `others` as there are states.
    pub fn new(others: &'static [TlbState]) -> Self {
        let (epoch, count) = (AtomicU64::new(FIRST_EPOCH), AtomicU32::new(0));
        Self { epoch, online: AtomicCpuSet::new(), count, first: TlbState::default(), others }
    }
}

impl Shootdown {
    /// The state of a CPU.
    pub(super) fn cpu(&self, number: usize) -> &TlbState {
        match number.checked_sub(1) {
            None => &self.first,
            Some(index) => self.others.get(index).unwrap_or_else(|| self.has_no(number)),
        }
    }

    #[cold]
    fn has_no(&self, number: usize) -> ! {
        panic!("CPU {number} has no TlbState: the machine's Shootdown has {}", self.cpus());
    }

    /// Returns how many CPUs the machine may have: their numbers are below this.
    pub fn cpus(&self) -> usize {
        1 + self.others.len()
    }

    /// Returns the CPUs that are [online](Self::set_online).
    pub fn online(&self) -> CpuSet {
        self.online.load()
    }

    /// Returns how many CPUs are [online](Self::set_online), at least 1.
    #[inline]
    pub fn online_count(&self) -> usize {
        self.count.load(Ordering::Relaxed).max(1) as usize
    }

    /// Brings the current CPU online: from now on flushes reach it. The machine calls this on each CPU once it can
    /// be interrupted. One that is `isolated` is interrupted only for what cannot wait: see [`Reach`](crate::Reach).
    ///
    /// # Safety
    /// 1. The current CPU has used no translation of an instance's range yet, or none since it went
    ///    [offline](Self::set_offline).
    /// 2. From the moment that its CR3 leads to tables with such a range until this returns, no page table of
    ///    an instance is given back, because nobody makes the CPU forget its paths through them: so nothing
    ///    is purged or trimmed meanwhile, or the CPU starts on tables without the range.
    pub unsafe fn set_online(&self, flusher: &impl Flusher, isolated: bool) {
        let cpu = self.cpu(flusher.here());
        cpu.state.store(if isolated { ISOLATED } else { 0 }, Ordering::SeqCst);
        let was_online = self.online.set(flusher.here(), true);
        self.count.fetch_add((!was_online).into(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.flush_all_here(flusher);
        self.serve(flusher);
    }

    /// Takes the current CPU offline: no flush reaches it any more, nor waits for it, until it is
    /// [online](Self::set_online) again. What an instance caches for it stays there; see
    /// [`Vmalloc::release_cpu`](crate::Vmalloc::release_cpu).
    ///
    /// # Safety
    /// From now on the CPU reads, writes and executes nothing that an instance maps, not even by speculation:
    /// its CR3 leads to tables without the range, or it stops for good with interrupts off.
    #[doc(alias = "cpu_down")]
    pub unsafe fn set_offline(&self, flusher: &impl Flusher) {
        // Who waits for the CPU waits no more. What was posted to it stays until it comes online again.
        let was_online = self.online.set(flusher.here(), false);
        self.count.fetch_sub(was_online.into(), Ordering::Relaxed);
    }

    /// Returns whether an isolated CPU is online.
    pub fn has_isolated(&self) -> bool {
        self.online().iter().any(|number| self.cpu(number).state.load(Ordering::Relaxed) & ISOLATED != 0)
    }

    /// Returns the counters of a CPU, whether it is online or not.
    ///
    /// # Panics
    /// If the machine has no CPU of this number.
    pub fn counters(&self, cpu: usize) -> &Counters {
        &self.cpu(cpu).counters
    }

    /// Says that the current CPU has nothing to run: until it [wakes](Self::leave_idle) it is interrupted for
    /// [`Forbid::Speculation`](crate::Forbid::Speculation) only.
    #[doc(alias = "enter_lazy_tlb")]
    ///
    /// # Safety
    /// 1. Interrupts are off, and are turned on only as the CPU halts.
    /// 2. However the halt ends, by an interrupt or without one, [`leave_idle`](Self::leave_idle) is called
    ///    before the CPU reads, writes or executes anything that an instance maps.
    pub unsafe fn enter_idle(&self, flusher: &impl Flusher) {
        self.cpu(flusher.here()).state.fetch_or(IDLE, Ordering::SeqCst);
    }

    /// Says that the current CPU runs again: if it was idle it flushes what it was not interrupted for, with
    /// interrupts off. The machine may call it whether or not the CPU was idle, thus in every interrupt handler.
    pub fn leave_idle(&self, flusher: &impl Flusher) {
        flusher.uninterrupted(|| {
            let cpu = self.cpu(flusher.here());
            // Only the current CPU sets the bit.
            if cpu.state.load(Ordering::Relaxed) & IDLE == 0 {
                return;
            }
            cpu.state.fetch_and(!IDLE, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            if cpu.mailbox.is_asked()
                || cpu.flushed.load(Ordering::Relaxed) < self.epoch.load(Ordering::SeqCst)
            {
                self.serve(flusher);
            }
        });
    }
}
