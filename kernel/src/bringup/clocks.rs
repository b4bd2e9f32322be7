//! The clocks of known frequency that the time stamp counter is measured by, and what CPUs say of it.
//!
//! Each may be missing, or be there and stand still; [`calibration`] finds out, and decides. The local
//! APIC's timer is then measured by the counter.

use super::acpi::Platform;
use crate::{
    arch::tsc,
    memory::{self, Machine},
    println,
};
use calibration::{Clock, Fault, Finding, Refusal, measure};
use core::iter::once_with;
use raw_cpuid::CpuId;
use vmalloc::{Cache, Mmio, volatile::map_field};
use x86_64::instructions::port::{Port, PortReadOnly};

/// Finds out how fast the time stamp counter runs. Called once, by the boot CPU.
///
/// # Errors
/// The machine has no clock to measure it by, or clocks that disagree.
pub(super) fn calibrate(platform: &Platform) -> Result<(), Refusal> {
    let decision = calibration::decide(findings(platform, tsc::now))?;
    if decision.confirmed_by.is_none() {
        println!("time is measured by one clock alone, with nothing to confirm it: {}", decision.source);
    }
    tsc::set_frequency(decision.hertz);
    Ok(())
}

/// What each source says of `counter`'s frequency, the most exact first. A clock is measured when its turn
/// comes.
fn findings(platform: &Platform, counter: fn() -> u64) -> impl Iterator<Item = Finding> {
    once_with(|| said("CPUID 0x15", exact_of_cpu()))
        .chain(once_with(|| said("the hypervisor", of_hypervisor())))
        .chain(once_with(move || measured("HPET", platform.hpet.and_then(Hpet::new), counter)))
        .chain(once_with(move || measured("ACPI timer", platform.pm_timer.map(AcpiTimer::new), counter)))
        .chain(once_with(move || measured("PIT", Some(Pit::new()), counter)))
        .chain(once_with(|| said("CPUID 0x16", rounded_of_cpu())))
}

fn said(source: &'static str, hertz: Option<u64>) -> Finding {
    Finding { source, hertz: hertz.ok_or(Fault::Missing) }
}

fn measured(source: &'static str, clock: Option<impl Clock>, mut counter: fn() -> u64) -> Finding {
    let hertz = clock.ok_or(Fault::Missing).and_then(|mut clock| measure(&mut clock, &mut counter));
    Finding { source, hertz }
}

/// Whether the time stamp counter runs at one speed whatever the CPU does (Intel SDM 3B, section 19.17.1).
pub(super) fn counter_is_invariant() -> bool {
    let features = CpuId::new().get_advanced_power_mgmt_info();
    features.is_some_and(|features| features.has_invariant_tsc())
}

/// Crystal and ratio; Intel SDM 3B, section 19.7.3.
fn exact_of_cpu() -> Option<u64> {
    CpuId::new().get_tsc_info()?.tsc_frequency()
}

fn of_hypervisor() -> Option<u64> {
    let kilohertz = CpuId::new().get_hypervisor_info()?.tsc_frequency()?;
    (kilohertz != 0).then(|| u64::from(kilohertz) * 1000)
}

/// The base frequency, in steps of 100 MHz.
fn rounded_of_cpu() -> Option<u64> {
    let megahertz = CpuId::new().get_processor_frequency_info()?.processor_base_frequency();
    (megahertz != 0).then(|| u64::from(megahertz) * 1_000_000)
}

/// The first registers of the high precision event timer.
#[repr(C)]
struct Registers {
    /// Has the period in its upper half.
    capabilities: u64,
    _reserved: u64,
    configuration: u64,
    _others: [u64; 27],
    /// At 0xf0.
    counter: u64,
}

/// The high precision event timer's main counter. Source: IA-PC HPET specification 1.0a, section 2.3.
struct Hpet {
    registers: Mmio<'static, Machine, Registers>,
    hertz: u64,
    /// What the configuration register was.
    configuration: u64,
}

impl Hpet {
    /// The main counter runs.
    const ENABLED: u64 = 1 << 0;
    /// Femtoseconds.
    const SECOND: u64 = 1_000_000_000_000_000;
    /// Femtoseconds of the longest period allowed.
    const LONGEST_PERIOD: u64 = 100_000_000;

    /// Maps the registers and lets the counter run. `None` if they cannot be mapped or are no HPET's.
    fn new(physical: u64) -> Option<Self> {
        // SAFETY: the firmware says that an HPET is there. Whether its counter runs concerns nobody else: its interrupts
        // are masked. Any bits are numbers.
        let registers = unsafe { Mmio::<_, Registers>::new(memory::vmalloc(), physical, Cache::Uncached) };
        let mut hpet = Self { registers: registers.ok()?, hertz: 0, configuration: 0 };
        let registers = hpet.registers.as_ptr();
        let period = map_field!(registers.capabilities).read() >> 32;
        hpet.configuration = map_field!(registers.configuration).read();
        // Where there are no registers, all bits are read as ones.
        if !(1..=Self::LONGEST_PERIOD).contains(&period) {
            return None;
        }
        hpet.hertz = Self::SECOND / period;
        hpet.configure(hpet.configuration | Self::ENABLED);
        Some(hpet)
    }

    fn configure(&mut self, bits: u64) {
        let registers = self.registers.as_mut_ptr();
        map_field!(registers.configuration).write(bits);
    }
}

impl Drop for Hpet {
    /// The counter is left as it was found.
    fn drop(&mut self) {
        if self.hertz != 0 {
            self.configure(self.configuration);
        }
    }
}

impl Clock for Hpet {
    fn hertz(&self) -> u64 {
        self.hertz
    }

    /// Some have 64, of which a reading in two halves might see two times.
    fn bits(&self) -> u32 {
        32
    }

    fn read(&mut self) -> u64 {
        let registers = self.registers.as_ptr();
        map_field!(registers.counter).read()
    }
}

/// ACPI's power management timer. Source: ACPI specification 6.5, section 4.8.2.1.
struct AcpiTimer(PortReadOnly<u32>);

impl AcpiTimer {
    fn new(port: u16) -> Self {
        Self(PortReadOnly::new(port))
    }
}

impl Clock for AcpiTimer {
    fn hertz(&self) -> u64 {
        3_579_545
    }

    /// Some have 32.
    fn bits(&self) -> u32 {
        24
    }

    fn read(&mut self) -> u64 {
        // SAFETY: the firmware says that the timer is there; reading it changes nothing.
        unsafe { self.0.read() }.into()
    }
}

/// Channel 2 of the programmable interval timer, counting down. Source: Intel 8254 data sheet.
struct Pit {
    data: Port<u8>,
    command: Port<u8>,
}

impl Pit {
    /// Channel 2, both bytes, mode 0: counts down once, and on.
    const COUNT_DOWN: u8 = 0b1011_0000;
    /// Channel 2: keeps the count to be read.
    const LATCH: u8 = 0b1000_0000;
    /// At port 0x61: lets channel 2 count; the bit above drives the speaker.
    const GATE: u8 = 1 << 0;
    const SPEAKER: u8 = 1 << 1;

    fn new() -> Self {
        let mut pit = Self { data: Port::new(0x42), command: Port::new(0x43) };
        let mut gate = Port::<u8>::new(0x61);
        // SAFETY: these are the interval timer's ports on every PC; where it is missing nothing answers.
        // Channel 2 drives only the speaker, which is kept silent.
        unsafe {
            let others = gate.read() & !(Self::GATE | Self::SPEAKER);
            gate.write(others | Self::GATE);
            pit.command.write(Self::COUNT_DOWN);
            pit.data.write(0xff);
            pit.data.write(0xff);
        }
        pit
    }
}

impl Clock for Pit {
    fn hertz(&self) -> u64 {
        1_193_182
    }

    fn bits(&self) -> u32 {
        16
    }

    fn read(&mut self) -> u64 {
        // SAFETY: as in `new`.
        let count = unsafe {
            self.command.write(Self::LATCH);
            let low = self.data.read();
            u16::from_le_bytes([low, self.data.read()])
        };
        (!count).into()
    }
}
