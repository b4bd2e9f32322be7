//! TLB shootdown by epochs: which CPUs may still use old translations, and making them forget.
//!
//! Full flushes go by epochs. A global *epoch* only grows. Each CPU has `flushed`, the epoch that it
//! read **before** its last full flush began. What was unmapped before a [`Stamp`] was taken is
//! forgotten by every CPU whose `flushed` is above the stamp: the epoch was advanced after the stamp,
//! and the CPU read the new one before it flushed. A [`round`](Shootdown::round) advances the epoch
//! and interrupts only CPUs that are behind. One that flushed since, for whatever reason, is not
//! interrupted; nor is an idle one, which catches up before it runs anything again, unless even its
//! speculation when it wakes does harm ([`Forbid`]); nor an isolated one, unless it must be.
//!
//! A few pages go by mailbox (`mailbox.rs`).
//!
//! A machine that [broadcasts](Flusher::broadcasts) interrupts nobody. Once a broadcast is over, every
//! CPU has flushed, whatever it was doing: its `flushed` becomes the epoch read before the broadcast.
//! A CPU in a [read-side section](Shootdown::look) does not notice a broadcast. It counts its sections, and the
//! broadcast waits for those that it finds under way.
//!
//! Why nothing is missed: a post is confirmed only when its pages are flushed. A CPU that
//! leaves idleness first says so and then reads posts and epochs; who flushes first posts or
//! advances and then reads who is idle. A CPU that comes online first says so and then flushes; who flushes
//! first changes entries and then reads who is online. (One that goes offline uses no translation from before it says so,
//! so who waits for it waits no more.) These pairs are sequentially consistent, so one of the
//! two sees the other. The models that loom explores try every interleaving of them.

use super::{
    counters::count,
    cpus::CpuSet,
    extent::{Forbid, Reach, Stamp},
    flusher::{Flusher, Scope},
    mailbox::PAGE_SHIFT,
    state::{IDLE, ISOLATED, Shootdown, TlbState},
};
use crate::atomic::{Ordering, fence};
use core::ops::Range;

/// CPUs that are posted to before one of them is waited for.
const AT_ONCE: usize = 64;

impl Shootdown {
    /// Takes a stamp of this moment: what the caller unmapped before is forgotten by all CPUs when the stamp is
    /// [flushed](Self::is_flushed).
    pub fn stamp(&self) -> Stamp {
        // The entries are written before the epoch is read: a CPU that reads a later epoch, and then
        // flushes, walks to the new entries afterwards.
        fence(Ordering::SeqCst);
        Stamp(self.epoch.load(Ordering::SeqCst))
    }

    /// Returns whether no CPU can do what `forbid` says any more with what was unmapped before the stamp.
    pub fn is_flushed(&self, stamp: Stamp, forbid: Forbid) -> bool {
        if self.epoch.load(Ordering::SeqCst) <= stamp.0 {
            return false;
        }
        // An idle CPU will see an epoch above its own before it runs anything.
        let sleeps = |cpu: &TlbState| forbid == Forbid::Use && cpu.state.load(Ordering::SeqCst) & IDLE != 0;
        self.online().iter().all(|number| {
            let cpu = self.cpu(number);
            cpu.flushed.load(Ordering::SeqCst) > stamp.0 || sleeps(cpu)
        })
    }

    /// Makes every CPU forget what was unmapped before `stamp` was taken, by full flushes of those that have
    /// not flushed since. With [`Reach::Considerate`] isolated CPUs are left out. Returns true if none was
    /// left out: then what `forbid` says cannot happen any more, even if [`is_flushed`](Self::is_flushed)
    /// returns false for a moment, while a CPU that was idle catches up. It must be called pinned.
    #[doc(alias = "flush_tlb_all")]
    pub fn round(&self, flusher: &impl Flusher, stamp: Stamp, reach: Reach, forbid: Forbid) -> bool {
        let _ = self.epoch.compare_exchange(stamp.0, stamp.0 + 1, Ordering::SeqCst, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let here = flusher.here();
        let behind = |number: usize| self.cpu(number).flushed.load(Ordering::SeqCst) <= stamp.0;
        if flusher.broadcasts() {
            // Isolated CPUs do not notice it: none needs to be left out.
            if self.online().iter().any(behind) {
                self.broadcast_all(flusher);
            }
            return true;
        }
        let others = self.online().iter().filter(|&number| number != here);
        let late = others.filter(|&number| {
            let is_late = behind(number);
            if !is_late {
                count(&self.cpu(number).counters.elided, 1);
            }
            is_late
        });
        let (targets, spared) = self.interrupt(flusher, late, reach, forbid);
        if behind(here) {
            self.flush_all_here(flusher);
        }
        self.wait_for(flusher, targets, |number| !behind(number));
        !spared
    }

    /// Makes every CPU forget the pages of these page-aligned address ranges, one by one, as far as `forbid`
    /// asks. Isolated CPUs are included. It must be called pinned, after the pages were unmapped or changed.
    #[doc(alias = "flush_tlb_kernel_range")]
    pub fn flush_pages(&self, flusher: &impl Flusher, ranges: &[Range<usize>], forbid: Forbid) {
        let here = flusher.here();
        // The entries are written before a broadcast begins; and before the one read of who is online: a CPU
        // that is not among them comes online later, and flushes after that, see `set_online`.
        fence(Ordering::SeqCst);
        if flusher.broadcasts() {
            self.broadcast(flusher, Scope::Pages(ranges));
            return;
        }
        let others = self.online().without(CpuSet::EMPTY.with_if(here, true));
        if others.is_empty() {
            return self.flush_pages_here(flusher, ranges);
        }
        for first in (0..self.cpus()).step_by(AT_ONCE) {
            let group = others.iter().filter(|number| (first..first + AT_ONCE).contains(number));
            let mut posts = [0; AT_ONCE];
            group.clone().for_each(|number| posts[number - first] = self.cpu(number).mailbox.post(ranges));
            // Posted before it is read who is idle; see `leave_idle`.
            fence(Ordering::SeqCst);
            let (targets, _) = self.interrupt(flusher, group, Reach::Everyone, forbid);
            if first == 0 {
                self.flush_pages_here(flusher, ranges);
            }
            // Each post alone. Later ones may wait for long, in the mailbox of a CPU that is idle by now.
            let confirmed = |number| self.cpu(number).mailbox.has_confirmed(posts[number - first]);
            self.wait_for(flusher, targets, confirmed);
        }
    }

    /// Makes the current CPU forget the pages of these ranges.
    fn flush_pages_here(&self, flusher: &impl Flusher, ranges: &[Range<usize>]) {
        for range in ranges {
            range.clone().step_by(1 << PAGE_SHIFT).for_each(|page| flusher.flush_page(page));
            count(&self.cpu(flusher.here()).counters.pages, (range.len() >> PAGE_SHIFT) as u64);
        }
    }

    /// Waits until each of these CPUs has done what `has_done` says, or went offline.
    fn wait_for(&self, flusher: &impl Flusher, cpus: CpuSet, has_done: impl Fn(usize) -> bool) {
        for number in cpus.iter() {
            flusher.wait(number, || has_done(number) || !self.online().contains(number));
        }
    }

    /// Flushes what others asked the current CPU to flush, with interrupts off. It may be called at any time,
    /// and costs little if nobody asked: a CPU that waits with interrupts off calls it repeatedly.
    pub fn serve(&self, flusher: &impl Flusher) {
        flusher.uninterrupted(|| {
            let cpu = self.cpu(flusher.here());
            let (posts, everything) = cpu.mailbox.open();
            if everything || cpu.flushed.load(Ordering::Relaxed) < self.epoch.load(Ordering::SeqCst) {
                cpu.mailbox.empty(|_| ());
                self.flush_all_here(flusher);
            } else {
                cpu.mailbox.empty(|pages| {
                    count(&cpu.counters.pages, pages.end - pages.start);
                    pages.for_each(|page| flusher.flush_page((page << PAGE_SHIFT) as usize));
                });
            }
            cpu.mailbox.confirm(posts);
        });
    }

    /// Answers an [interrupt](Flusher::interrupt) that asks the current CPU to flush: counts it, and
    /// [serves](Self::serve). The handler of that interrupt calls it.
    pub fn answer(&self, flusher: &impl Flusher) {
        count(&self.cpu(flusher.here()).counters.received, 1);
        self.serve(flusher);
    }

    /// Runs `look` as a read-side section, with interrupts off: page tables and descriptors that it finds are
    /// not given back before it is over, even if others unlink and flush them meanwhile. `look` must not
    /// flush. Sections nest: the report of a fault may come in the middle of one.
    pub fn look(&self, flusher: &impl Flusher, look: impl FnOnce()) {
        flusher.uninterrupted(|| {
            // Only the current CPU counts here.
            let sections = &self.cpu(flusher.here()).sections;
            // Where nobody broadcasts, the interrupt to flush comes afterwards. Within another section, of what was
            // interrupted perhaps, that one holds broadcasts off.
            if !flusher.broadcasts() || sections.load(Ordering::Relaxed) % 2 == 1 {
                return look();
            }
            sections.fetch_add(1, Ordering::Relaxed);
            // Either a broadcast finds the section begun, or the section finds unlinked what was unlinked before.
            fence(Ordering::SeqCst);
            look();
            sections.fetch_add(1, Ordering::Release);
        });
    }

    /// Flushes the whole TLB of the current CPU, with interrupts off, and records that it did. A machine that
    /// has to flush for a reason of its own does it by this call, which spares the CPU an interrupt later.
    #[doc(alias = "flush_tlb_local")]
    pub fn flush_all_here(&self, flusher: &impl Flusher) {
        flusher.uninterrupted(|| {
            let cpu = self.cpu(flusher.here());
            // Read before the flush: what is unmapped between the two has this epoch as its stamp, and
            // must not pass for flushed.
            let epoch = self.epoch.load(Ordering::SeqCst);
            flusher.flush_all();
            count(&cpu.counters.full, 1);
            cpu.flushed.fetch_max(epoch, Ordering::SeqCst);
        });
    }

    /// Flushes the TLBs of all CPUs at once.
    fn broadcast_all(&self, flusher: &impl Flusher) {
        // Both are read before the broadcast: the epoch for the reason `flush_all_here` has; and a CPU
        // that takes part later flushes then. The broadcast is an access that only a fence orders.
        let (online, epoch) = (self.online(), self.epoch.load(Ordering::SeqCst));
        fence(Ordering::SeqCst);
        self.broadcast(flusher, Scope::All);
        for number in online.iter() {
            self.cpu(number).flushed.fetch_max(epoch, Ordering::SeqCst);
        }
    }

    /// Makes all CPUs forget what `scope` says, and waits for the read-side sections that may have found what was
    /// unlinked before. The caller has executed a fence.
    fn broadcast(&self, flusher: &impl Flusher, scope: Scope<'_>) {
        let here = flusher.here();
        flusher.broadcast(scope);
        count(&self.cpu(here).counters.broadcasts, 1);
        for number in self.online().iter().filter(|&number| number != here) {
            let sections = || self.cpu(number).sections.load(Ordering::SeqCst);
            let begun = sections();
            if begun % 2 == 1 {
                flusher.wait(number, || sections() != begun);
            }
        }
    }

    /// Interrupts those of these CPUs, which are behind, that have to be. Returns them, and whether an isolated one is
    /// left out, so that what it may still use has to wait.
    fn interrupt(
        &self,
        flusher: &impl Flusher,
        behind: impl Iterator<Item = usize>,
        reach: Reach,
        forbid: Forbid,
    ) -> (CpuSet, bool) {
        let (mut targets, mut spared) = (CpuSet::EMPTY, false);
        for number in behind {
            let cpu = self.cpu(number);
            let state = cpu.state.load(Ordering::SeqCst);
            if state & IDLE != 0 && forbid == Forbid::Use {
                // It catches up before it runs anything.
                count(&cpu.counters.idle, 1);
            } else if state & ISOLATED != 0 && reach == Reach::Considerate {
                count(&cpu.counters.spared, 1);
                spared = true;
            } else {
                if state & ISOLATED != 0 {
                    count(&cpu.counters.forced, 1);
                }
                targets = targets.with_if(number, true);
            }
        }
        if !targets.is_empty() {
            count(&self.cpu(flusher.here()).counters.sent, targets.count() as u64);
            flusher.interrupt(targets);
        }
        (targets, spared)
    }
}
