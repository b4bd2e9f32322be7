//! What the CPU says of itself.

use spin::Once;

/// Bits of a physical address that the CPU has.
#[must_use]
pub fn physical_bits() -> u32 {
    // What a CPU has that does not say (Intel SDM 3A, section 4.1.4).
    const LEAST: u32 = 36;
    let capacities = raw_cpuid::CpuId::new().get_processor_capacity_feature_info();
    capacities.map_or(LEAST, |capacities| capacities.physical_address_bits().into())
}

/// Whether the CPU belongs to a virtual machine, by what its hypervisor says. Ports that a real machine may use
/// for anything belong to a virtual one's devices, or to none.
pub fn is_virtual() -> bool {
    raw_cpuid::CpuId::new().get_feature_info().is_some_and(|features| features.has_hypervisor())
}

/// The brand string, for reports.
pub fn brand() -> &'static str {
    static BRAND: Once<Option<raw_cpuid::ProcessorBrandString>> = Once::new();
    let brand = BRAND.call_once(|| raw_cpuid::CpuId::new().get_processor_brand_string());
    brand.as_ref().map_or("unknown CPU", |brand| brand.as_str().trim())
}
