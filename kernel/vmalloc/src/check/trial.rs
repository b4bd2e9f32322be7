//! A check under way: what it uses, what it holds, and what it has to report.

use super::{Broken, Cpu, Promise, Report, Seen};
use crate::{CpuSet, Frame, Platform, page_table::survey, types::frame::PHYSICAL_BITS, vmalloc};
use core::ops::Range;

pub(super) struct Trial<'a, P, C> {
    pub platform: &'a P,
    pub cpu: &'a C,
    announce: &'a mut dyn FnMut(Promise),
    pub report: Report,
    /// Frames that were taken and not given back.
    pub held: usize,
}

/// Returns that a promise is broken, by what was seen, unless it is kept.
pub(super) fn check(kept: bool, promise: Promise, seen: impl FnOnce() -> Seen) -> Result<(), Broken> {
    if kept { Ok(()) } else { Err(Broken { promise, seen: seen() }) }
}

impl<'a, P: Platform, C: Cpu> Trial<'a, P, C> {
    pub fn new(platform: &'a P, cpu: &'a C, announce: &'a mut dyn FnMut(Promise)) -> Self {
        Self { platform, cpu, announce, report: Report::new(0, CpuSet::EMPTY), held: 0 }
    }

    /// Says which promise is tried next.
    pub fn trying(&mut self, promise: Promise) {
        (self.announce)(promise);
    }

    /// Tries what the CPU's registers say, the top level page table, and what lies below it in the range.
    pub fn try_paging(&mut self, range: &Range<usize>) -> Result<(), Broken> {
        let registers = self.cpu.registers();
        self.trying(Promise::Paging);
        check(registers.no_execute, Promise::Paging, || Seen::NoExecuteOff)?;
        check(registers.write_protect, Promise::Paging, || Seen::WriteProtectOff)?;
        check(!registers.five_levels, Promise::Paging, || Seen::FiveLevels)?;
        self.trying(Promise::PhysicalBits);
        let (returned, cpuid) = (self.platform.physical_bits(), registers.physical_bits);
        check(returned == cpuid, Promise::PhysicalBits, || Seen::OtherBits { returned, cpuid })?;
        self.trying(Promise::Root);
        let (root, cr3) = (self.platform.root(), registers.root);
        check(root == cr3, Promise::Root, || Seen::OtherRoot { returned: root, cr3 })?;
        self.trying(Promise::DirectMap);
        self.try_mapped(root, self.platform.direct_map(root).as_ptr() as usize)?;
        self.trying(Promise::Range);
        vmalloc::check_range(self.platform, range)
            .map_err(|refused| Broken { promise: Promise::Range, seen: Seen::Refused(refused) })
    }

    /// Tries whether the page tables map an address of the direct map to this frame, writable.
    pub fn try_mapped(&self, frame: Frame, address: usize) -> Result<(), Broken> {
        if !self.cpu.has_direct_map() {
            return Ok(());
        }
        let end = 1 << self.platform.physical_bits().min(PHYSICAL_BITS);
        let seen = match survey::walk(self.platform, address, end) {
            Some((mapped, true)) if mapped == frame => return Ok(()),
            Some((mapped, _)) if mapped == frame => Seen::ReadOnly { frame, address },
            Some((mapped, _)) => Seen::OtherFrame { frame, address, mapped },
            None => Seen::NotMapped { frame, address },
        };
        Err(Broken { promise: Promise::DirectMap, seen })
    }

    /// Tries a grace period, if the caller may wait.
    pub fn try_grace_period(&mut self) {
        self.trying(Promise::Grace);
        self.report.grace = self.platform.synchronize();
    }

    pub fn into_report(self) -> Report {
        assert_eq!(self.held, 0, "the check gives back what it takes");
        self.report
    }
}
