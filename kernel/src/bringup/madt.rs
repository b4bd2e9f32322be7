//! The MADT, the firmware's table of CPUs and interrupt controllers, by its bytes: what it says of lengths is not believed.
//!
//! Source: ACPI specification 6.5, section 5.2.12.

use core::iter;

/// What an entry tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A CPU.
    Cpu {
        /// The id of its local APIC.
        apic_id: u32,
        /// Whether it may be used: bit 0.
        flags: u32,
    },
    /// An IO-APIC.
    IoApic {
        /// The physical address of its registers.
        address: u64,
    },
}

/// Bytes of the table in front of its entries.
const ENTRIES: usize = 44;

/// No APIC's id: interrupts to it go to all. Firmware gives it to CPUs that are not there.
const BROADCAST: u8 = 0xff;

/// Returns what a table's entries tell, up to the first one that is shorter than its kind is, or ends behind the table. Those of
/// other kinds are left out.
pub fn entries(table: &[u8]) -> impl Iterator<Item = Entry> {
    let mut rest = table.get(ENTRIES..).unwrap_or_default();
    let kinds = iter::from_fn(move || {
        let &[kind, length, ..] = rest else { return None };
        let (entry, behind) = rest.split_at_checked(length.into()).filter(|_| length >= 2)?;
        rest = behind;
        let word = |at: usize| Some(u32::from_le_bytes(*entry.get(at..)?.first_chunk()?));
        let told = match kind {
            0 if *entry.get(3)? == BROADCAST => None,
            0 => Some(Entry::Cpu { apic_id: entry[3].into(), flags: word(4)? }),
            1 => Some(Entry::IoApic { address: word(4)?.into() }),
            9 => Some(Entry::Cpu { apic_id: word(4)?, flags: word(8)? }),
            _ => None,
        };
        Some(told)
    });
    kinds.flatten()
}
