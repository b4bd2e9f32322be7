//! PCI's configuration space by its two ports (PCI Local Bus Specification 3.0, 3.2.2.3.2), which every PC has.

use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction};
use x86_64::instructions::port::Port;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
/// The address is one of the configuration space.
const ENABLE: u32 = 1 << 31;

/// The ports. Used by one thread at a time.
pub struct Ports;

fn select(function: DeviceFunction, register: u8) {
    let DeviceFunction { bus, device, function } = function;
    let place = u32::from(bus) << 16 | u32::from(device) << 11 | u32::from(function) << 8;
    // SAFETY: the port chooses a register, and has no other effect.
    unsafe { Port::new(ADDRESS).write(ENABLE | place | u32::from(register & !3)) };
}

impl ConfigurationAccess for Ports {
    fn read_word(&self, device_function: DeviceFunction, register_offset: u8) -> u32 {
        select(device_function, register_offset);
        // SAFETY: registers of the configuration space may be read.
        unsafe { Port::new(DATA).read() }
    }

    fn write_word(&mut self, device_function: DeviceFunction, register_offset: u8, data: u32) {
        select(device_function, register_offset);
        // SAFETY: only the driver of a device that this kernel uses calls this, for that device.
        unsafe { Port::new(DATA).write(data) };
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}
