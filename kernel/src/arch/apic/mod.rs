//! The local APIC of each CPU: its timer, and interrupts to other CPUs.
//!
//! By its x2APIC registers where the firmware has turned them on, and in virtual machines where the CPU has them; else by the
//! page of registers that all CPUs see at the same address, each its own: firmware that works with the page in its system
//! management mode must find it. Source: Intel SDM 3A, chapter 12.
//!
//! Called by what sends interrupts or sets the timer, in any context, once [`init`] ran; no lock is taken.

mod registers;
mod vector;

use super::{
    cpu::{self, interrupt_flag},
    tsc,
};
use calibration::Fault;
use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};
pub use registers::{Mode, mode};
use registers::{Register, msr, read, set_mode, write};
use spin::Once;
pub(super) use vector::VECTORS;
pub use vector::Vector;
use vmalloc::AllocError;
use x86_64::{instructions::port::Port, registers::model_specific::Msr};

/// Counts of the timer in a cycle of the time stamp counter, in parts of 2^32.
static TIMER_SCALE: Once<u64> = Once::new();

/// Counts a second of the timer, at least: its clock is that of a bus or a crystal.
const SLOWEST_TIMER: u64 = 1_000_000;

const APIC_BASE: u32 = 0x1b;
const BASE_X2APIC: u64 = 1 << 10;
const BASE_ENABLED: u64 = 1 << 11;
const BASE_ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const SPURIOUS_ENABLED: u32 = 1 << 8;
/// A source of the CPU's own is masked. Its vector is one that has a handler: what was pending when it was masked may come by it.
const LOCAL_MASKED: u32 = 1 << 16 | Vector::Unexpected as u32;
const DELIVERY_MODE: u32 = 7 << 8;
/// A source interrupts the firmware's system management mode, and is the firmware's.
const DELIVER_SMI: u32 = 2 << 8;
/// The timer counts each of its clock's ticks.
const DIVIDE_BY_1: u32 = 0b1011;

const DELIVER_FIXED: u32 = 0 << 8;
const DELIVER_NMI: u32 = 4 << 8;
const DELIVER_INIT: u32 = 5 << 8;
const DELIVER_START: u32 = 6 << 8;
const LEVEL_ASSERT: u32 = 1 << 14;
const TO_ALL_OTHERS: u32 = 3 << 18;
const DELIVERY_PENDING: u32 = 1 << 12;
/// Looks at a command under way: some milliseconds, a thousand times what one takes.
const DELIVERY_LOOKS: usize = 1 << 16;

/// Prepares the boot CPU's APIC, and masks the two 8259 interrupt controllers.
///
/// `map` is asked for the page of registers, by its physical address, if they are used so.
///
/// # Errors
/// That of `map`.
///
/// # Safety
/// What `map` returns shows the page at the physical address that it was given, uncached, for ever.
pub(crate) unsafe fn init(
    map: impl FnOnce(u64) -> Result<NonNull<u8>, AllocError>,
) -> Result<(), AllocError> {
    // SAFETY: every x86-64 CPU has the register; reading it changes nothing.
    let base = unsafe { Msr::new(APIC_BASE).read() };
    let features = raw_cpuid::CpuId::new().get_feature_info();
    let has_x2apic = features.is_some_and(|features| features.has_x2apic());
    let mode = if base & BASE_X2APIC != 0 || has_x2apic && cpu::is_virtual() {
        Mode::X2apic
    } else {
        Mode::Xapic { page: map(base & BASE_ADDRESS)?.as_ptr() as usize }
    };
    // SAFETY: promised by the caller; the CPU says where its registers are.
    unsafe { set_mode(mode) };
    for port in [0x21, 0xa1] {
        // SAFETY: the mask registers of the two controllers, which nothing here uses.
        unsafe { Port::<u8>::new(port).write(0xff) };
    }
    init_cpu();
    Ok(())
}

/// Measures the timer, for [`set_timer`]; after the time stamp counter was measured. Called once, by the
/// boot CPU.
///
/// # Errors
/// The timer does not count, or too slowly to tell ticks by.
pub(crate) fn calibrate() -> Result<(), Fault> {
    write(Register::TimerInitial, u32::MAX);
    let measured =
        calibration::measure(&mut tsc::Counter, &mut || u64::from(u32::MAX - read(Register::TimerCurrent)));
    write(Register::TimerInitial, 0);
    let hertz = measured?;
    if hertz < SLOWEST_TIMER {
        return Err(Fault::StandsStill);
    }
    TIMER_SCALE.call_once(|| ((u128::from(hertz) << 32) / u128::from(tsc::kilohertz() * 1000)) as u64);
    Ok(())
}

/// The number, among the sources of a CPU's own, of that of thermal interrupts.
const THERMAL_NUMBER: u32 = 5;

/// What the firmware left in the boot CPU's entry for thermal interrupts, if these are its own, or 0. A CPU that is started has
/// lost it, and would stay in system management mode for ever if that waited for such an interrupt.
static THERMAL: AtomicU32 = AtomicU32::new(0);

/// Prepares the APIC of the CPU this runs on: every source of its own masked that is not the firmware's, interrupts from other
/// CPUs let through.
pub(crate) fn init_cpu() {
    let mut base = Msr::new(APIC_BASE);
    // SAFETY: enabled first, then switched to x2APIC, and from there to the page by way of disabled: the only orders allowed
    // (section 12.12.5).
    unsafe {
        if mode() != Mode::X2apic && base.read() & BASE_X2APIC != 0 {
            base.write(base.read() & !(BASE_ENABLED | BASE_X2APIC));
        }
        let enabled = base.read() | BASE_ENABLED;
        base.write(enabled);
        if mode() == Mode::X2apic {
            base.write(enabled | BASE_X2APIC);
        }
    }
    let last = read(Register::Version) >> 16 & 0xff;
    // Errors first: they would be told of vectors that are written to the others.
    let sources = [
        (Register::LocalError, 3),
        (Register::LocalTimer, 0),
        (Register::LocalPin0, 1),
        (Register::LocalPin1, 2),
        (Register::LocalPerformance, 4),
        (Register::LocalThermal, THERMAL_NUMBER),
        (Register::LocalCorrectedError, 6),
    ];
    write(Register::Spurious, SPURIOUS_ENABLED | Vector::Spurious as u32);
    for (source, number) in sources.into_iter().filter(|&(_, number)| number <= last) {
        let left = read(source);
        let is_thermal = number == THERMAL_NUMBER;
        if left & DELIVERY_MODE != DELIVER_SMI {
            let thermal = THERMAL.load(Ordering::Relaxed);
            write(source, if is_thermal && thermal != 0 { thermal } else { LOCAL_MASKED });
        } else if is_thermal {
            THERMAL.store(left, Ordering::Relaxed);
        }
    }
    write(Register::TaskPriority, 0);
    write(Register::TimerDivide, DIVIDE_BY_1);
    write(Register::TimerInitial, 0);
}

/// The APIC id of the CPU this runs on.
pub fn id() -> u32 {
    match mode() {
        Mode::X2apic => read(Register::Id),
        Mode::Xapic { .. } => read(Register::Id) >> 24,
    }
}

/// The largest APIC id of a CPU that interrupts can be sent to.
pub fn largest_id() -> u32 {
    match mode() {
        Mode::X2apic => u32::MAX - 1,
        Mode::Xapic { .. } => 0xfe,
    }
}

/// Ends the interrupt being handled, so that the next can come.
#[inline]
pub(in crate::arch) fn end_of_interrupt() {
    write(Register::EndOfInterrupt, 0);
}

/// Interrupts a CPU that is online. Stores made before are seen by its handler.
pub fn send(cpu: usize, vector: Vector) {
    command(cpu::apic_id(cpu), DELIVER_FIXED | LEVEL_ASSERT | vector as u32);
}

/// Interrupts a CPU that is online, even if it has interrupts off.
pub(crate) fn send_nmi(cpu: usize) {
    command(cpu::apic_id(cpu), DELIVER_NMI | LEVEL_ASSERT);
}

/// Resets all other CPUs, whoever they are; each then waits for [`send_start`].
///
/// # Safety
/// None of them runs the kernel: all they may do is to spin in a loop of the firmware's.
pub(crate) unsafe fn send_init_to_others() {
    command(0, DELIVER_INIT | LEVEL_ASSERT | TO_ALL_OTHERS);
}

/// Makes a CPU that was reset start, in real mode, at the start of the page of this number.
pub(crate) fn send_start(apic_id: u32, page: u8) {
    command(apic_id, DELIVER_START | LEVEL_ASSERT | u32::from(page));
}

/// Lets the timer of the CPU this runs on interrupt it, once each time it is set.
pub(crate) fn start_timer() {
    write(Register::LocalTimer, Vector::Timer as u32);
}

/// Interrupts the CPU this runs on, by [`Vector::Timer`], about when the time stamp counter gets to
/// `deadline`: at once if it has, a little early or late as the two clocks differ. What the timer was set
/// to before is forgotten.
///
/// # Panics
/// Before [`calibrate`].
pub(crate) fn set_timer(deadline: u64) {
    let Some(&scale) = TIMER_SCALE.get() else { panic!("the timer is used before it was measured") };
    let cycles = deadline.saturating_sub(tsc::now());
    let counts = (u128::from(cycles) * u128::from(scale)) >> 32;
    // A count of zero would stop it.
    write(Register::TimerInitial, counts.min(u128::from(u32::MAX - 1)) as u32 + 1);
}

fn command(apic_id: u32, what: u32) {
    match mode() {
        Mode::X2apic => {
            // SAFETY: writing interrupts another CPU as the caller wants. The fences make it later
            // than every store before, which the MSR alone is not (section 12.12.3).
            unsafe {
                core::arch::x86_64::_mm_mfence();
                core::arch::x86_64::_mm_lfence();
                msr(Register::Command).write(u64::from(apic_id) << 32 | u64::from(what));
            }
        }
        // A handler between the halves could send something else.
        Mode::Xapic { .. } => interrupt_flag::without_interrupts(|| {
            let is_pending = |_| read(Register::Command) & DELIVERY_PENDING != 0;
            // Else the last one was lost, which whoever waits for its effect finds out.
            let _delivered = !(0..DELIVERY_LOOKS).all(is_pending);
            write(Register::CommandHigh, apic_id << 24);
            write(Register::Command, what);
        }),
    }
}
