//! The registers of the local APIC: by MSRs where it is used as x2APIC, else in a page that all CPUs see at the same address,
//! each its own.

use core::fmt;
use spin::Once;
use x86_64::registers::model_specific::Msr;

/// A register: its offset in the page; divided by 16, its number among the x2APIC's MSRs.
#[derive(Clone, Copy)]
#[repr(u16)]
pub(super) enum Register {
    Id = 0x20,
    Version = 0x30,
    TaskPriority = 0x80,
    EndOfInterrupt = 0xb0,
    Spurious = 0xf0,
    LocalCorrectedError = 0x2f0,
    /// Low half; the x2APIC has both in this one.
    Command = 0x300,
    CommandHigh = 0x310,
    LocalTimer = 0x320,
    LocalThermal = 0x330,
    LocalPerformance = 0x340,
    LocalPin0 = 0x350,
    LocalPin1 = 0x360,
    LocalError = 0x370,
    TimerInitial = 0x380,
    TimerCurrent = 0x390,
    TimerDivide = 0x3e0,
}

/// How the registers are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By MSRs.
    X2apic,
    /// In memory.
    Xapic {
        /// Address of the registers' page.
        page: usize,
    },
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X2apic => "x2APIC",
            Self::Xapic { .. } => "xAPIC",
        })
    }
}

static MODE: Once<Mode> = Once::new();

/// The MSR of register 0.
const FIRST_MSR: u32 = 0x800;

/// Decides how the registers are reached, on all CPUs. Called once, before any is.
///
/// # Safety
/// A page of registers is mapped for ever, and is that of the local APIC.
pub(super) unsafe fn set_mode(mode: Mode) {
    MODE.call_once(|| mode);
}

/// How the registers are reached, on all CPUs.
///
/// # Panics
/// Before the boot sequence decided: see [`init`](super::init).
#[inline]
pub fn mode() -> Mode {
    match MODE.get() {
        Some(mode) => *mode,
        None => panic!("the local APIC is used before the boot sequence set it up"),
    }
}

pub(super) fn msr(register: Register) -> Msr {
    Msr::new(FIRST_MSR + (register as u32 >> 4))
}

#[inline]
pub(super) fn read(register: Register) -> u32 {
    match mode() {
        // SAFETY: the register exists, and reading it changes nothing.
        Mode::X2apic => unsafe { msr(register).read() as u32 },
        // SAFETY: as above; the page is mapped for ever.
        Mode::Xapic { page } => unsafe { address(page, register).read_volatile() },
    }
}

#[inline]
pub(super) fn write(register: Register, value: u32) {
    match mode() {
        // SAFETY: the register exists; what can be written here touches no memory.
        Mode::X2apic => unsafe { msr(register).write(value.into()) },
        // SAFETY: as above; the page is mapped for ever.
        Mode::Xapic { page } => unsafe { address(page, register).write_volatile(value) },
    }
}

fn address(page: usize, register: Register) -> *mut u32 {
    (page + register as usize) as *mut u32
}
