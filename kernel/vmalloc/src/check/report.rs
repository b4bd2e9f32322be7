//! What a check found to be right, and what it could not try.

use crate::CpuSet;
use core::fmt;

/// What a machine that keeps its promises was seen to do, and what could not be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The CPU that the check ran on. Others are checked by calls on them.
    pub cpu: usize,
    /// The CPUs that are online. One that uses an instance and is missing here will use memory that others own.
    pub online: CpuSet,
    /// Frames that were taken, tables and those of a 2 MiB frame included. All were given back.
    pub frames: usize,
    /// CPUs that answered an interrupt.
    pub answered: usize,
    /// What [`synchronize`](crate::Platform::synchronize) returned.
    pub grace: bool,
    /// What could not be tried, as bits.
    untried: u32,
}

/// What a check could not try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Untried {
    /// Whether a pin keeps other threads off its CPU, and whether `uninterrupted` does.
    Threads,
    /// Whether a grace period has really passed when [`synchronize`](crate::Platform::synchronize) says so.
    Grace,
    /// Whether other CPUs run on the page tables under the root, and really flush when they answer.
    OtherCpus,
    /// Whether others leave the range alone.
    Others,
    /// Whether [`is_ram`](crate::Platform::is_ram) is right about frames that were not taken.
    OtherFrames,
    /// Interrupts, of which there are none: no other CPU is online, or the machine broadcasts.
    Interrupts,
    /// 2 MiB frames, of which none was available.
    HugeFrames,
    /// Whether the page tables map the direct map: on a simulated machine, that is its host's memory.
    Tables,
}

impl Untried {
    const ALL: [Self; 8] = [
        Self::Threads,
        Self::Grace,
        Self::OtherCpus,
        Self::Others,
        Self::OtherFrames,
        Self::Interrupts,
        Self::HugeFrames,
        Self::Tables,
    ];
}

impl Report {
    /// Starts the report of a check on this CPU.
    pub(super) fn new(cpu: usize, online: CpuSet) -> Self {
        let mut report = Self { cpu, online, frames: 0, answered: 0, grace: false, untried: 0 };
        report.leave_out(Untried::Threads);
        report.leave_out(Untried::Grace);
        report.leave_out(Untried::OtherCpus);
        report.leave_out(Untried::Others);
        report.leave_out(Untried::OtherFrames);
        report
    }

    pub(super) fn leave_out(&mut self, what: Untried) {
        self.untried |= 1 << what as u8;
    }

    /// Returns what could not be tried.
    pub fn untried(&self) -> impl Iterator<Item = Untried> {
        let untried = self.untried;
        Untried::ALL.into_iter().filter(move |&what| untried >> what as u8 & 1 != 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, online, frames, answered, grace, .. } = self;
        write!(
            f,
            "CPU {cpu} of {{{online}}} online: {frames} frames were taken and given back, {answered} CPUs answered, "
        )?;
        f.write_str(if *grace { "a grace period passed; " } else { "no grace period was waited for; " })?;
        for (index, what) in self.untried().enumerate() {
            write!(f, "{}{what}", if index == 0 { "not tried: " } else { "; " })?;
        }
        Ok(())
    }
}

impl fmt::Display for Untried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Threads => "whether a pin keeps other threads off its CPU",
            Self::Grace => "whether synchronize tells the truth",
            Self::OtherCpus => "other CPUs' page tables and flushes, which a check on each of them tries",
            Self::Others => "whether others leave the range alone",
            Self::OtherFrames => "whether is_ram is right about frames that were not taken",
            Self::Interrupts => "interrupts, as no other CPU is online, or the machine broadcasts",
            Self::HugeFrames => "2 MiB frames, of which none was to be had",
            Self::Tables => "the page tables of the direct map, as the machine is simulated",
        })
    }
}
