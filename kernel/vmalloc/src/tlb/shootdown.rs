//! TLB shootdown by epochs: which CPUs may still use old translations, and making them forget.
//!
//! Full flushes go by epochs. A global *epoch* only grows. Each CPU keeps `flushed`, the epoch it
//! read **before** its last full flush began. What was unmapped before a [`Stamp`] was taken is
//! forgotten by every CPU whose `flushed` is above the stamp: the epoch was advanced after the stamp,
//! and the CPU read the new one before it flushed. A [`round`](Shootdown::round) advances the epoch
//! and interrupts only CPUs that are behind. One that flushed since, whoever asked for it, is not
//! disturbed; nor is an idle one, which catches up before it runs anything again, unless even what it
//! speculates when it wakes does harm ([`Forbid`]); nor an isolated one, unless it must be.
//!
//! A few pages go by mailbox (`mailbox.rs`).
//!
//! A machine that [broadcasts](Flusher::broadcasts) interrupts nobody. Once a broadcast is over, every
//! CPU has flushed, whatever it was doing: its `flushed` becomes the epoch read before the broadcast.
//! Programs that [look](Shootdown::look) at page tables do not notice a broadcast. They count their
//! looks, and the broadcast waits for those it finds under way.
//!
//! Why nothing is missed: a post is confirmed only when its pages are flushed. A CPU that
//! leaves idleness first says so and then looks for posts and epochs; who flushes first posts or
//! advances and then looks who is idle. A CPU that comes online first says so and then flushes; who flushes
//! first changes entries and then looks who is online. These pairs are sequentially consistent, so one of the
//! two sees the other. The models in `tests/interleavings` explore them all.

use super::{
    counters::{Counters, count},
    cpus::{CpuSet, MAX_CPUS},
    flusher::{Flusher, Scope},
    mailbox::Mailbox,
};
use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use core::ops::Range;

const PAGE_SHIFT: u32 = 12;

const IDLE: u32 = 1;
const ISOLATED: u32 = 2;

/// The moment after which something was unmapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u64);

impl Stamp {
    /// Before everything: every CPU has flushed since.
    pub const NEVER: Self = Self(0);
}

/// Whether CPUs that are isolated are interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Isolated CPUs are left alone: what they may still reach has to wait.
    Considerate,
    /// All CPUs: somebody cannot wait.
    Everyone,
}

/// What CPUs must not do any more with what was unmapped or changed. It decides whether idle CPUs are woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbid {
    /// No program uses it. An idle CPU runs none before it wakes, and flushes first.
    Use,
    /// No CPU speculates on it either. Between waking and flushing an idle CPU may walk through a page table that
    /// its paging-structure caches still have, and set accessed bits in what is somebody's data by then; or load a
    /// translation beside one of another size with other rights, which is undefined (Intel SDM 3A, 4.10.2.3 and
    /// 4.10.3.1). So idle CPUs are interrupted before page tables are given back, and when 2 MiB pages change, as
    /// Linux does for its `freed_tables`.
    Speculation,
}

/// What is to be done about a CPU that is behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duty {
    Interrupt,
    /// Nothing: it catches up before it runs anything.
    Idle,
    /// Nothing: it is isolated, and what it may still use has to wait.
    Spare,
}

#[repr(align(128))]
struct Cpu {
    flushed: AtomicU64,
    state: AtomicU32,
    mailbox: Mailbox,
    /// Beginnings and ends of looks: odd while the CPU looks. Only on a machine that broadcasts.
    looks: AtomicU32,
    counters: Counters,
}

/// See the module's documentation. One for a machine, whatever instances it has.
pub struct Shootdown {
    epoch: AtomicU64,
    online: AtomicU64,
    /// How many are online.
    count: AtomicU32,
    cpus: [Cpu; MAX_CPUS],
}

impl Shootdown {
    /// For a machine none of whose CPUs is [`online`](Self::set_online) yet.
    #[must_use]
    pub fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            // Above `Stamp::NEVER`.
            epoch: AtomicU64::new(1),
            online: zero(),
            count: AtomicU32::new(0),
            cpus: core::array::from_fn(|_| Cpu {
                flushed: zero(),
                state: AtomicU32::new(0),
                mailbox: Mailbox::new(),
                looks: AtomicU32::new(0),
                counters: Counters::default(),
            }),
        }
    }

    /// The CPUs that take part.
    pub fn online(&self) -> CpuSet {
        CpuSet::from_bits(self.online.load(Ordering::SeqCst))
    }

    /// How many CPUs take part, at least 1.
    #[inline]
    pub fn online_count(&self) -> usize {
        self.count.load(Ordering::Relaxed).max(1) as usize
    }

    /// Lets a CPU take part from now on. Called on it, when it can be interrupted.
    ///
    /// # Safety
    /// 1. The CPU has used no translation of an instance's range yet.
    /// 2. From the moment that its CR3 has tables with such a range until this returns, no page table of an instance
    ///    is given back, because nobody makes the CPU forget its ways through them: so nothing is purged or trimmed
    ///    meanwhile, or the CPU starts on tables without the range.
    pub unsafe fn set_online(&self, flusher: &impl Flusher, isolated: bool) {
        let cpu = &self.cpus[flusher.here()];
        cpu.state.store(if isolated { ISOLATED } else { 0 }, Ordering::SeqCst);
        let before = self.online.fetch_or(1 << flusher.here(), Ordering::SeqCst);
        let is_new = before >> flusher.here() & 1 == 0;
        self.count.fetch_add(is_new.into(), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.flush_all_here(flusher);
    }

    /// Whether an isolated CPU takes part.
    pub fn has_isolated(&self) -> bool {
        self.online().iter().any(|number| self.cpus[number].state.load(Ordering::Relaxed) & ISOLATED != 0)
    }

    /// What this CPU and others did to it.
    pub fn counters(&self, cpu: usize) -> &Counters {
        &self.cpus[cpu].counters
    }

    /// The moment now: what the caller unmapped before is forgotten when the stamp is
    /// [flushed](Self::is_flushed).
    pub fn stamp(&self) -> Stamp {
        // The entries are written before the epoch is read: a CPU that reads a later epoch, and then
        // flushes, walks to the new entries afterwards.
        fence(Ordering::SeqCst);
        Stamp(self.epoch.load(Ordering::SeqCst))
    }

    /// Whether no CPU can do any more what `forbid` says, with what was unmapped before the stamp.
    pub fn is_flushed(&self, stamp: Stamp, forbid: Forbid) -> bool {
        if self.epoch.load(Ordering::SeqCst) <= stamp.0 {
            return false;
        }
        // An idle CPU will see an epoch above its own before it runs anything.
        let sleeps = |cpu: &Cpu| forbid == Forbid::Use && cpu.state.load(Ordering::SeqCst) & IDLE != 0;
        self.online().iter().all(|number| {
            let cpu = &self.cpus[number];
            cpu.flushed.load(Ordering::SeqCst) > stamp.0 || sleeps(cpu)
        })
    }

    /// Makes every CPU forget what was unmapped before `stamp`, but for isolated ones if `reach` is
    /// considerate; whether none of those was spared. Then what `forbid` says cannot happen any more, even if
    /// [`is_flushed`](Self::is_flushed) cannot tell for a moment, while a CPU that was idle catches up. Called
    /// pinned.
    pub fn round(&self, flusher: &impl Flusher, stamp: Stamp, reach: Reach, forbid: Forbid) -> bool {
        let _ = self.epoch.compare_exchange(stamp.0, stamp.0 + 1, Ordering::SeqCst, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let here = flusher.here();
        let behind = |number: usize| self.cpus[number].flushed.load(Ordering::SeqCst) <= stamp.0;
        if flusher.broadcasts() {
            // Isolated CPUs do not notice it: none needs to be spared.
            if self.online().iter().any(behind) {
                self.broadcast_all(flusher);
            }
            return true;
        }
        let (mut targets, mut spared) = (CpuSet::EMPTY, false);
        for number in self.online().iter().filter(|&number| number != here) {
            if behind(number) {
                let duty = self.duty(number, reach, forbid);
                targets = targets.with_if(number, duty == Duty::Interrupt);
                spared |= duty == Duty::Spare;
            } else {
                count(&self.cpus[number].counters.elided, 1);
            }
        }
        self.interrupt(flusher, targets);
        if behind(here) {
            self.flush_all_here(flusher);
        }
        for number in targets.iter() {
            flusher.wait(number, || !behind(number));
        }
        !spared
    }

    /// Makes every CPU forget the pages of these page-aligned ranges, as far as `forbid` asks. Called pinned, after
    /// they were unmapped or changed.
    pub fn flush_pages(&self, flusher: &impl Flusher, ranges: &[Range<usize>], forbid: Forbid) {
        let here = flusher.here();
        // The entries are written before a broadcast begins; and before it is looked, once, who is online: a CPU
        // that is not found there says so later, and flushes after that, see `set_online`.
        fence(Ordering::SeqCst);
        if flusher.broadcasts() {
            self.broadcast(flusher, Scope::Pages(ranges));
            return;
        }
        let others = self.online().without(CpuSet::EMPTY.with_if(here, true));
        let mut posts = [0; MAX_CPUS];
        others.iter().for_each(|number| posts[number] = self.cpus[number].mailbox.post(ranges));
        // Posted before it is looked who is idle; see `leave_idle`.
        fence(Ordering::SeqCst);
        let mut targets = CpuSet::EMPTY;
        for number in others.iter() {
            let duty = self.duty(number, Reach::Everyone, forbid);
            targets = targets.with_if(number, duty == Duty::Interrupt);
        }
        self.interrupt(flusher, targets);
        for range in ranges {
            range.clone().step_by(1 << PAGE_SHIFT).for_each(|page| flusher.flush_page(page));
            count(&self.cpus[here].counters.pages, (range.len() >> PAGE_SHIFT) as u64);
        }
        for number in targets.iter() {
            // This post alone. Later ones may wait for long, in the mailbox of a CPU that is idle by now.
            flusher.wait(number, || self.cpus[number].mailbox.has_confirmed(posts[number]));
        }
    }

    /// Does what others asked of this CPU, without interrupts.
    pub fn serve(&self, flusher: &impl Flusher) {
        flusher.uninterrupted(|| self.serve_here(flusher));
    }

    /// As [`serve`](Self::serve), with interrupts off.
    fn serve_here(&self, flusher: &impl Flusher) {
        let cpu = &self.cpus[flusher.here()];
        let (posts, everything) = cpu.mailbox.open();
        if everything || cpu.flushed.load(Ordering::Relaxed) < self.epoch.load(Ordering::SeqCst) {
            cpu.mailbox.empty(|_| ());
            self.flush_here(flusher);
        } else {
            cpu.mailbox.empty(|pages| {
                count(&cpu.counters.pages, pages.end - pages.start);
                pages.for_each(|page| flusher.flush_page((page << PAGE_SHIFT) as usize));
            });
        }
        cpu.mailbox.confirm(posts);
    }

    /// As [`serve`](Self::serve), for a CPU that was interrupted for it.
    pub fn answer(&self, flusher: &impl Flusher) {
        count(&self.cpus[flusher.here()].counters.received, 1);
        self.serve(flusher);
    }

    /// This CPU has nothing to run: nobody interrupts it for less than [`Forbid::Speculation`].
    ///
    /// # Safety
    /// 1. Interrupts are off, and go on only as the CPU stops.
    /// 2. Whatever ends that calls [`leave_idle`](Self::leave_idle) before the CPU reads, writes or executes anything
    ///    that an instance maps.
    pub unsafe fn enter_idle(&self, flusher: &impl Flusher) {
        self.cpus[flusher.here()].state.fetch_or(IDLE, Ordering::SeqCst);
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn is_idle(&self, cpu: usize) -> bool {
        self.cpus[cpu].state.load(Ordering::SeqCst) & IDLE != 0
    }

    /// This CPU runs again: if it was idle it catches up, without interrupts.
    pub fn leave_idle(&self, flusher: &impl Flusher) {
        flusher.uninterrupted(|| self.catch_up(flusher));
    }

    fn catch_up(&self, flusher: &impl Flusher) {
        let cpu = &self.cpus[flusher.here()];
        // Only this CPU sets the bit.
        if cpu.state.load(Ordering::Relaxed) & IDLE == 0 {
            return;
        }
        cpu.state.fetch_and(!IDLE, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if cpu.mailbox.is_asked() || cpu.flushed.load(Ordering::Relaxed) < self.epoch.load(Ordering::SeqCst) {
            self.serve_here(flusher);
        }
    }

    /// Runs `look`, which finds its way to what others unlink, flush and give away, without interrupts:
    /// what it finds is not given away before it is over. It must not flush. A look within a look is part of it: a
    /// fault's report, say, may come in the middle of one.
    pub fn look(&self, flusher: &impl Flusher, look: impl FnOnce()) {
        flusher.uninterrupted(|| {
            if !flusher.broadcasts() {
                // The interrupt to flush comes afterwards.
                return look();
            }
            // Only this CPU counts here. Within another look, of what was interrupted perhaps, that one holds
            // broadcasts off.
            let looks = &self.cpus[flusher.here()].looks;
            if looks.load(Ordering::Relaxed) % 2 == 1 {
                return look();
            }
            looks.fetch_add(1, Ordering::Relaxed);
            // Either a broadcast finds the look begun, or the look finds unlinked what was unlinked before.
            fence(Ordering::SeqCst);
            look();
            looks.fetch_add(1, Ordering::Release);
        });
    }

    /// A full flush of this CPU, for whatever reason, without interrupts.
    pub fn flush_all_here(&self, flusher: &impl Flusher) {
        flusher.uninterrupted(|| self.flush_here(flusher));
    }

    /// As [`flush_all_here`](Self::flush_all_here), with interrupts off.
    fn flush_here(&self, flusher: &impl Flusher) {
        let cpu = &self.cpus[flusher.here()];
        // Read before the flush: what is unmapped between the two has this epoch as its stamp, and
        // must not pass for flushed.
        let epoch = self.epoch.load(Ordering::SeqCst);
        flusher.flush_all();
        count(&cpu.counters.full, 1);
        cpu.flushed.fetch_max(epoch, Ordering::SeqCst);
    }

    /// A full flush of all CPUs at once.
    fn broadcast_all(&self, flusher: &impl Flusher) {
        // Both are read before the broadcast: the epoch for the reason `flush_all_here` has; and a CPU
        // that takes part later flushes then. The broadcast is an access that only a fence orders.
        let (online, epoch) = (self.online(), self.epoch.load(Ordering::SeqCst));
        fence(Ordering::SeqCst);
        self.broadcast(flusher, Scope::All);
        for number in online.iter() {
            self.cpus[number].flushed.fetch_max(epoch, Ordering::SeqCst);
        }
    }

    /// After a fence: makes all CPUs forget, and waits until none looks at what was unlinked before.
    fn broadcast(&self, flusher: &impl Flusher, scope: Scope<'_>) {
        let here = flusher.here();
        flusher.broadcast(scope);
        count(&self.cpus[here].counters.broadcasts, 1);
        for number in self.online().iter().filter(|&number| number != here) {
            let looks = || self.cpus[number].looks.load(Ordering::SeqCst);
            let begun = looks();
            if begun % 2 == 1 {
                flusher.wait(number, || looks() != begun);
            }
        }
    }

    /// What is to be done about a CPU that is behind; counts what is unusual.
    fn duty(&self, number: usize, reach: Reach, forbid: Forbid) -> Duty {
        let cpu = &self.cpus[number];
        let state = cpu.state.load(Ordering::SeqCst);
        let (duty, counter) = match reach {
            _ if state & IDLE != 0 && forbid == Forbid::Use => (Duty::Idle, &cpu.counters.idle),
            _ if state & ISOLATED == 0 => return Duty::Interrupt,
            Reach::Considerate => (Duty::Spare, &cpu.counters.spared),
            Reach::Everyone => (Duty::Interrupt, &cpu.counters.forced),
        };
        count(counter, 1);
        duty
    }

    fn interrupt(&self, flusher: &impl Flusher, targets: CpuSet) {
        if !targets.is_empty() {
            count(&self.cpus[flusher.here()].counters.sent, targets.count() as u64);
            flusher.interrupt(targets);
        }
    }
}

impl Default for Shootdown {
    fn default() -> Self {
        Self::new()
    }
}
