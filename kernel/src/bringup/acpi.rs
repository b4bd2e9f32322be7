//! What the firmware tells of the machine in its ACPI tables: CPUs, interrupt controllers, clocks, and
//! how to reset it and switch it off.
//!
//! Source: ACPI specification 6.5, sections 5.2.9 (FADT), 5.2.11.1 (DSDT) and 5.2.12 (MADT); IA-PC HPET specification,
//! section 3.2.4.

use super::madt::{Entry, entries};
use crate::{
    arch::{cpu, paging::direct_map},
    drivers::soft_off::{SoftOff, sleep_types},
    memory, println,
};
use acpi::{
    AcpiError, AcpiHandler, AcpiTable, AcpiTables, PhysicalMapping,
    address::{AddressSpace, GenericAddress},
    fadt::Fadt,
    madt::Madt,
    sdt::{SdtHeader, Signature},
};
use alloc::vec::Vec;
use core::{ptr::NonNull, slice};
use vmalloc::{AllocError, Cache, Frame, PAGE_SHIFT, PAGE_SIZE};

/// The flag of a processor that may be used, in entries of both kinds.
const ENABLED: u32 = 1 << 0;
/// What the tables say. What they do not say, or say of another kind of machine, is missing.
#[derive(Clone, Debug, Default)]
pub struct Platform {
    /// APIC ids of the enabled CPUs, in the table's order, each once. CPUs that could be plugged in later
    /// are none.
    pub apic_ids: Vec<u32>,
    /// Physical addresses of the IO-APICs' registers.
    pub io_apics: Vec<u64>,
    /// Physical address of the high precision event timer's registers.
    pub hpet: Option<u64>,
    /// The ACPI power management timer's port.
    pub pm_timer: Option<u16>,
    /// The port that resets the machine, and the value to write there.
    pub reset: Option<(u16, u8)>,
    /// How the machine is switched off.
    pub off: Option<SoftOff>,
}

impl Platform {
    /// Reads the tables.
    ///
    /// # Errors
    /// What is wrong with the root table. A broken table below it counts as missing.
    ///
    /// # Safety
    /// `rsdp` is the physical address at which the firmware says its root pointer is.
    pub unsafe fn read(rsdp: u64) -> Result<Self, AcpiError> {
        // SAFETY: promised by the caller.
        let tables = unsafe { AcpiTables::from_rsdp(Physical, rsdp as usize) }?;
        let mut platform = Self::default();
        match tables.find_table::<Madt>() {
            Ok(madt) => entries(bytes(&madt)).for_each(|entry| platform.add(entry)),
            Err(error) => println!("no other CPUs: the firmware's table of them: {error:?}"),
        }
        platform.hpet = tables.find_table::<HpetTable>().ok().and_then(|table| table.registers());
        if let Ok(fadt) = tables.find_table::<Fadt>() {
            platform.pm_timer = fadt.pm_timer_block().ok().flatten().and_then(port);
            let by_register = { fadt.flags }.supports_system_reset_via_fadt();
            let register = fadt.reset_register().ok().filter(|_| by_register).and_then(port);
            platform.reset = register.map(|port| (port, fadt.reset_value));
            platform.off = soft_off(&tables, &fadt);
        }
        Ok(platform)
    }

    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::IoApic { address } => self.io_apics.push(address),
            Entry::Cpu { apic_id, flags } if flags & ENABLED != 0 && !self.apic_ids.contains(&apic_id) => {
                self.apic_ids.push(apic_id);
            }
            Entry::Cpu { .. } => {}
        }
    }
}

/// The bytes of a table that is shown.
fn bytes<T>(table: &PhysicalMapping<Physical, T>) -> &[u8] {
    // SAFETY: so many bytes are shown while the mapping lives, and nobody writes them.
    unsafe { slice::from_raw_parts(table.virtual_start().cast().as_ptr(), table.region_length()) }
}

/// What the FADT and the table that it names say of switching off.
fn soft_off(tables: &AcpiTables<Physical>, fadt: &Fadt) -> Option<SoftOff> {
    // SAFETY: the firmware says that the table is there, and so is its header.
    let header = unsafe {
        Physical.map_physical_region::<SdtHeader>(fadt.dsdt_address().ok()?, size_of::<SdtHeader>())
    };
    if (header.length as usize) < size_of::<SdtHeader>() {
        return None;
    }
    let aml = tables.dsdt().ok()?;
    // SAFETY: as above.
    let mapped = unsafe { Physical.map_physical_region::<u8>(aml.address, aml.length as usize) };
    let bytes = bytes(&mapped);
    let second = fadt.pm1b_control_block().ok().flatten();
    let handover = u16::try_from(fadt.smi_cmd_port).ok().filter(|&port| port != 0 && fadt.acpi_enable != 0);
    Some(SoftOff {
        control: [port(fadt.pm1a_control_block().ok()?), second.and_then(port)],
        types: sleep_types(bytes)?,
        handover: handover.map(|port| (port, fadt.acpi_enable)),
    })
}

/// The port of a register that is one.
fn port(register: GenericAddress) -> Option<u16> {
    let is_port = register.address_space == AddressSpace::SystemIo && register.address != 0;
    is_port.then(|| u16::try_from(register.address).ok()).flatten()
}

/// What is read of the HPET's table.
#[repr(C, packed)]
struct HpetTable {
    header: SdtHeader,
    _block_id: u32,
    address_space: u8,
    _register: [u8; 3],
    address: u64,
}

// SAFETY: the table begins so; `show` maps as much, whatever length the header says.
unsafe impl AcpiTable for HpetTable {
    const SIGNATURE: Signature = Signature::HPET;

    fn header(&self) -> &SdtHeader {
        &self.header
    }
}

impl HpetTable {
    /// Physical address of the registers, if the table has them in memory.
    fn registers(&self) -> Option<u64> {
        const MEMORY: u8 = 0;
        let is_whole = self.header.length as usize >= size_of::<Self>();
        (is_whole && self.address_space == MEMORY).then_some(self.address)
    }
}

/// Shows the tables: in the direct map where that has them, else by `ioremap`. What cannot be shown is shown as zeros,
/// which are no table, and a line says so.
#[derive(Clone)]
struct Physical;

/// Zeros in the place of a table.
#[repr(align(4096))]
struct Zeros([u8; PAGE_SIZE]);

static NO_TABLE: Zeros = Zeros([0; PAGE_SIZE]);

impl AcpiHandler for Physical {
    unsafe fn map_physical_region<T>(&self, physical: usize, size: usize) -> PhysicalMapping<Self, T> {
        const { assert!(size_of::<T>() <= PAGE_SIZE) };
        let (bytes, size) = match show(physical, size.max(size_of::<T>())) {
            Ok(bytes) => (bytes, size),
            Err(error) => {
                println!("the firmware's table at {physical:#x} counts as missing: {error}");
                (NonNull::from(&NO_TABLE.0).cast(), size.min(PAGE_SIZE))
            }
        };
        // SAFETY: the bytes are shown until the mapping is dropped.
        unsafe { PhysicalMapping::new(physical, bytes.cast(), size, size, self.clone()) }
    }

    fn unmap_physical_region<T>(region: &PhysicalMapping<Self, T>) {
        let start: NonNull<u8> = region.virtual_start().cast();
        if memory::vmalloc().contains(start.as_ptr() as usize) {
            // SAFETY: mapped above by `ioremap`, and the mapping is being dropped.
            let unmapped = unsafe { memory::vmalloc().vunmap(start) };
            if let Err(error) = unmapped {
                panic!("a firmware table was unmapped twice: {error}");
            }
        }
    }
}

/// Where so many bytes at a physical address are seen.
fn show(physical: usize, size: usize) -> Result<NonNull<u8>, AllocError> {
    let start = physical as u64;
    let end = start.checked_add(size as u64).filter(|&end| end <= 1 << cpu::physical_bits());
    let end = end.ok_or(AllocError::BadPhysicalRange { start, size })?;
    let mut pages = start >> PAGE_SHIFT..end.div_ceil(PAGE_SIZE as u64);
    let first = pages.start;
    if !pages.all(|page| direct_map::shows(Frame::new(page))) {
        return memory::vmalloc().ioremap(start, size, Cache::WriteBack);
    }
    // SAFETY: the offset lies in the first page, and the direct map shows all of them.
    Ok(unsafe { direct_map::pointer(Frame::new(first)).add(physical % PAGE_SIZE) })
}
