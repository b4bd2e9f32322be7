//! The CPUs that the firmware names: ACPI's multiple APIC description table (MADT).
//!
//! Source: ACPI specification 6.5, section 5.2.12.

use crate::{
    drivers::power,
    memory::{self, direct_map},
    println,
};
use acpi::{
    AcpiError, AcpiHandler, AcpiTables, PhysicalMapping,
    madt::{Madt, MadtEntry},
};
use alloc::vec::Vec;
use core::ptr::NonNull;
use protocol::Exit;
use vmalloc::{Cache, Frame, PAGE_SHIFT, PAGE_SIZE};

/// The flag of a processor that may be used, in entries of both kinds.
const ENABLED: u32 = 1 << 0;

/// The APIC ids of the enabled CPUs, in the table's order, each once. CPUs that could be plugged in
/// later are none.
///
/// # Errors
/// What is wrong with the tables.
///
/// # Safety
/// `rsdp` is the physical address at which the firmware says its root pointer is.
pub unsafe fn apic_ids(rsdp: u64) -> Result<Vec<u32>, AcpiError> {
    // SAFETY: promised by the caller.
    let tables = unsafe { AcpiTables::from_rsdp(Physical, rsdp as usize) }?;
    let madt = tables.find_table::<Madt>()?;
    let mut ids = Vec::new();
    for entry in madt.get().entries() {
        let (id, flags) = match entry {
            MadtEntry::LocalApic(cpu) => (cpu.apic_id.into(), cpu.flags),
            MadtEntry::LocalX2Apic(cpu) => (cpu.x2apic_id, cpu.flags),
            _ => continue,
        };
        if flags & ENABLED != 0 && !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// Shows the tables: in the direct map where that has them, else by `ioremap`.
#[derive(Clone)]
struct Physical;

impl AcpiHandler for Physical {
    unsafe fn map_physical_region<T>(&self, physical: usize, size: usize) -> PhysicalMapping<Self, T> {
        let pages = (physical >> PAGE_SHIFT)..(physical + size).div_ceil(PAGE_SIZE);
        let bytes = if pages.clone().all(|page| direct_map::shows(Frame::new(page as u64))) {
            let first = direct_map::pointer(Frame::new(pages.start as u64));
            // SAFETY: the offset lies in the first page, and the direct map shows all of them.
            unsafe { first.add(physical % PAGE_SIZE) }
        } else {
            match memory::vmalloc().ioremap(physical as u64, size, Cache::WriteBack) {
                Ok(bytes) => bytes,
                Err(error) => {
                    println!("the firmware's table at {physical:#x} cannot be mapped: {error}");
                    power::exit(Exit::Unfit);
                }
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
