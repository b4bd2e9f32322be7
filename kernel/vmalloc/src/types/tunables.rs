//! Tunables: limits of an instance that may be changed while it runs.

use super::policy::{Policy, Reuse, Slack};
use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// Limits and switches of an instance that may be changed while it runs, by plain stores. Pages are of 4 KiB.
#[derive(Debug)]
pub struct Tunables {
    /// Pages up to which a flush goes page by page; a larger one flushes everything. Linux's default is 33.
    #[doc(alias = "tlb_single_page_flush_ceiling")]
    pub single_page_flush_ceiling: AtomicUsize,
    /// Pages that may wait for a flush before a purge is due. 0 stands for 32 MiB, and as much again for each doubling
    /// of the number of CPUs, but a 16th of the memory at most: see [`lazy_max`](crate::Vmalloc::lazy_max).
    pub lazy_max_pages: AtomicUsize,
    /// Factor of [`lazy_max`](crate::Vmalloc::lazy_max): if more pages wait, purging outranks allocating, and
    /// callers that free purge, or wait for a purge.
    pub purge_priority: AtomicUsize,
    /// Leaf tables that each CPU has in reserve, unused and full of zeros; at most 16. The initial value is
    /// 8, or a 1024th of the machine's frames if that is less.
    pub table_reserve: AtomicUsize,
    pub(crate) modes: Modes,
}

/// What has calls take their slow paths, in one byte, so that a fast path asks once.
#[derive(Debug)]
pub(crate) struct Modes(AtomicU8);

/// A mode of an instance. Magazines are closed while it is on, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    /// [`Platform::trace`](crate::Platform::trace) is told what is done.
    Trace = 1,
    /// Frees are remembered.
    Remember = 2,
    /// What lies behind the bytes that were asked for is checked.
    CheckSlack = 4,
    /// Freed areas wait for a flush before they are used again.
    AfterFlush = 8,
    /// Freed pages wait until others were freed.
    Quarantine = 16,
    /// [`Platform::trace`](crate::Platform::trace) is told of purges and flushes. Magazines stay open.
    TracePurges = 32,
}

impl Modes {
    /// The modes that look at each call.
    const WATCHING: u8 =
        Mode::Trace as u8 | Mode::Remember as u8 | Mode::CheckSlack as u8 | Mode::Quarantine as u8;

    fn new(policy: Policy) -> Self {
        let modes = Self(AtomicU8::new(0));
        modes.set(Mode::AfterFlush, policy.reuse == Reuse::AfterFlush);
        modes.set(Mode::CheckSlack, policy.slack == Slack::Checked);
        modes
    }

    /// Returns how many modes are on.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed).count_ones() as usize
    }

    /// Returns whether a mode is on.
    #[inline(always)]
    pub fn has(&self, mode: Mode) -> bool {
        self.0.load(Ordering::Relaxed) & mode as u8 != 0
    }

    /// Returns whether purges and flushes are told.
    pub fn trace_purges(&self) -> bool {
        self.0.load(Ordering::Relaxed) & (Mode::Trace as u8 | Mode::TracePurges as u8) != 0
    }

    /// Returns whether a mode is on that looks at each call.
    #[inline(always)]
    pub fn are_watching(&self) -> bool {
        self.0.load(Ordering::Relaxed) & Self::WATCHING != 0
    }

    /// Turns a mode on or off, and returns whether it was on.
    pub fn set(&self, mode: Mode, on: bool) -> bool {
        let before = match on {
            true => self.0.fetch_or(mode as u8, Ordering::AcqRel),
            false => self.0.fetch_and(!(mode as u8), Ordering::AcqRel),
        };
        before & mode as u8 != 0
    }
}

impl Tunables {
    pub(crate) fn new(policy: Policy, total_frames: usize) -> Self {
        // 33 is Linux's default; see arch/x86/mm/tlb.c for how it was measured.
        Self {
            single_page_flush_ceiling: AtomicUsize::new(33),
            lazy_max_pages: AtomicUsize::new(0),
            // Linux's factor since 2019.
            purge_priority: AtomicUsize::new(2),
            table_reserve: AtomicUsize::new((total_frames / 1024).min(8)),
            modes: Modes::new(policy),
        }
    }
}
