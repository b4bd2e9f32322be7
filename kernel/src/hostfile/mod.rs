//! A file on the host that text is written to, by QEMU's virtio console. The serial line takes each byte by itself; this
//! takes a page at once.
//!
//! `bus` finds devices by PCI's configuration ports, `dma` gives the driver memory. The driver is the crate
//! `virtio-drivers`. It is opened by a thread that may wait, and written to in any context but that of an NMI. Locks: its
//! own, under which none is taken.

mod bus;
mod dma;

use crate::{
    arch::{cpu, interrupts::stop},
    memory::frames,
    sync::{Class, Exclusive, IrqLock},
};
use bus::Ports;
use core::fmt;
use dma::Dma;
use virtio_drivers::{
    device::console::VirtIOConsole,
    transport::{
        DeviceType,
        pci::{
            PciTransport, VirtioPciError,
            bus::{Command, PciRoot},
            virtio_device_type,
        },
    },
};
use x86_64::instructions::interrupts;

static CLASS: Class = Class::new("file on the host");
static CONSOLE: IrqLock<Option<Console>> = IrqLock::new(&CLASS, None);

type Console = VirtIOConsole<Dma, PciTransport>;

/// Frames that the driver needs, and as many again for page tables.
const FRAMES: usize = 32;

/// Why there is no file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The machine has no virtio console.
    NoDevice,
    /// Too few frames are free.
    OutOfFrames,
    /// The device is of a kind that the driver does not know.
    Transport(VirtioPciError),
    /// The device does not do as it should.
    Device(virtio_drivers::Error),
    /// Another thread opens the file just now.
    Busy,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice => {
                f.write_str("this machine has no device for it, which ./run.sh exec and boot give")
            }
            Self::OutOfFrames => f.write_str("too few frames are free"),
            Self::Transport(error) => write!(f, "the virtio console cannot be used: {error}"),
            Self::Device(error) => write!(f, "the virtio console does not answer: {error}"),
            Self::Busy => f.write_str("another command opens the file just now"),
        }
    }
}

impl core::error::Error for OpenError {}

/// The right to look for the device.
static OPENING: Exclusive = Exclusive::new();

/// Opens the file, if it is not open. It stays open.
///
/// # Errors
/// See [`OpenError`].
pub fn open() -> Result<(), OpenError> {
    let is_open = || with_console(|console| console.is_some());
    if is_open() {
        return Ok(());
    }
    // The ports by which the device is found, and the device, are one thread's.
    let _opening = OPENING.try_take().ok_or(OpenError::Busy)?;
    if is_open() {
        return Ok(());
    }
    // Ports that only virtual machines have are let alone on others.
    if !cpu::is_virtual() {
        return Err(OpenError::NoDevice);
    }
    if frames::free() < FRAMES {
        return Err(OpenError::OutOfFrames);
    }
    let mut root = PciRoot::new(Ports);
    let is_console = |info: &_| virtio_device_type(info) == Some(DeviceType::Console);
    let found = root.enumerate_bus(0).find(|(_, info)| is_console(info));
    let (function, _) = found.ok_or(OpenError::NoDevice)?;
    root.set_command(function, Command::MEMORY_SPACE | Command::BUS_MASTER);
    let transport = PciTransport::new::<Dma, _>(&mut root, function).map_err(OpenError::Transport)?;
    let console = VirtIOConsole::new(transport).map_err(OpenError::Device)?;
    with_console(|opened| *opened = Some(console));
    Ok(())
}

/// Writes bytes that lie in one page, and returns whether the host took them: not if the file is not open.
pub fn write(bytes: &[u8]) -> bool {
    let send = |console: &mut Console| console.send_bytes(bytes).is_ok();
    bytes.is_empty() || with_console(|console| console.as_mut().is_some_and(send))
}

/// Uses the driver. Nobody is stopped with the lock, which a panic takes to write the rest.
fn with_console<T>(using: impl FnOnce(&mut Option<Console>) -> T) -> T {
    interrupts::without_interrupts(|| stop::when_done(|| using(&mut CONSOLE.lock())))
}
