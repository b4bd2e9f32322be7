//! Switching a machine off by its fixed ACPI registers: the sleep state S5.
//!
//! Source: ACPI specification 6.5, sections 4.8.3.2 (PM1 control registers), 7.4.2 (`_S5`), 16.1.7, and 20.2
//! (the encoding of AML). What to write stands in a package that nearly every firmware writes out in constants,
//! so no interpreter is needed to find it. Methods that a firmware wants called before (`_PTS`) are not; a
//! machine that insists stays on.

use crate::arch::tsc;
use x86_64::instructions::port::Port;

/// In a PM1 control register: the hardware is ACPI's, not the firmware's.
const ACPI_MODE: u16 = 1 << 0;
const SLEEP_TYPE: u16 = 0b111 << 10;
const SLEEP_TYPE_SHIFT: u32 = 10;
const SLEEP: u16 = 1 << 13;
/// Microseconds that the firmware is given to hand the hardware over; Linux waits as long.
const HANDOVER: u64 = 3_000_000;
/// Microseconds that the machine is given to switch itself off.
const LIMIT: u64 = 1_000_000;

/// What to write where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftOff {
    /// Ports of the PM1 control registers; most machines have one.
    pub control: [Option<u16>; 2],
    /// The sleep type of S5 for each.
    pub types: [u8; 2],
    /// The port, and what to write there, by which the firmware hands the hardware over.
    pub handover: Option<(u16, u8)>,
}

impl SoftOff {
    /// Switches the machine off; returns if it stays on.
    pub(crate) fn enter(&self) {
        let [Some(first), _] = self.control else { return };
        // SAFETY: the firmware says that the ports are these registers; the machine goes off, as the caller wants.
        let in_acpi_mode = || unsafe { Port::<u16>::new(first).read() } & ACPI_MODE != 0;
        if let Some((port, value)) = self.handover.filter(|_| !in_acpi_mode()) {
            // SAFETY: as above.
            unsafe { Port::new(port).write(value) };
            tsc::spin_until(HANDOVER, in_acpi_mode);
        }
        for (port, kind) in self.control.into_iter().zip(self.types) {
            let Some(mut control) = port.map(Port::<u16>::new) else { continue };
            // SAFETY: as above.
            unsafe {
                let others = control.read() & !(SLEEP_TYPE | SLEEP);
                control.write(others | u16::from(kind) << SLEEP_TYPE_SHIFT | SLEEP);
            }
        }
        tsc::spin_until(LIMIT, || false);
    }
}

/// Finds the sleep types of S5 in the bytes of a DSDT: `Name (_S5, Package () {a, b, ...})` with small constants.
#[must_use]
pub fn sleep_types(aml: &[u8]) -> Option<[u8; 2]> {
    const NAME: &[u8] = b"_S5_";
    const NAME_OP: u8 = 0x08;
    const ROOT: u8 = b'\\';
    const PACKAGE_OP: u8 = 0x12;
    aml.windows(NAME.len()).enumerate().filter(|&(_, window)| window == NAME).find_map(|(at, _)| {
        let before = aml[..at].strip_suffix(&[ROOT]).unwrap_or(&aml[..at]);
        let package = aml[at + NAME.len()..].strip_prefix(&[PACKAGE_OP])?;
        // The length takes one to four bytes, of which the first says how many; then comes how many elements.
        let elements = package.get(usize::from(package.first()? >> 6) + 2..)?;
        let (first, rest) = small_constant(elements)?;
        let (second, _) = small_constant(rest)?;
        (before.ends_with(&[NAME_OP]) && first < 8 && second < 8).then_some([first, second])
    })
}

/// A constant of one byte, and what is behind it.
fn small_constant(aml: &[u8]) -> Option<(u8, &[u8])> {
    const BYTE_PREFIX: u8 = 0x0a;
    match *aml {
        [constant @ (0 | 1), ref rest @ ..] | [BYTE_PREFIX, constant, ref rest @ ..] => {
            Some((constant, rest))
        }
        _ => None,
    }
}
