//! QEMU's firmware configuration device: small files that the host hands to the guest.
//!
//! Source: QEMU, docs/specs/fw_cfg.rst. Without the device every file is missing.
//! Ports that only QEMU has (fw_cfg, the exit device) are written only where a hypervisor is announced, because nobody
//! knows what a real machine has there.

use crate::arch::cpu;
use alloc::{string::String, vec, vec::Vec};
use x86_64::instructions::port::{Port, PortReadOnly};

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const KEY_SIGNATURE: u16 = 0x00;
const KEY_DIRECTORY: u16 = 0x19;
const NAME_LENGTH: usize = 56;

/// The text of the file called `name`; `None` if there is no such file. Called by one thread at a time: the device
/// goes from byte to byte.
///
/// # Panics
/// If the file is not UTF-8: the host runner writes no other.
pub(crate) fn read(name: &str) -> Option<String> {
    if !cpu::is_virtual() {
        return None;
    }
    select(KEY_SIGNATURE);
    if take::<4>() != *b"QEMU" {
        return None;
    }
    select(KEY_DIRECTORY);
    let count = u32::from_be_bytes(take());
    // The whole directory must be read before another key is selected.
    let entries: Vec<_> = (0..count).map(|_| DirectoryEntry::take()).collect();
    let entry = entries.iter().find(|entry| entry.is_called(name))?;
    select(entry.key);
    let mut bytes = vec![0; entry.size as usize];
    bytes.fill_with(take_byte);
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(_) => panic!("fw_cfg file {name} is not UTF-8"),
    }
}

struct DirectoryEntry {
    size: u32,
    key: u16,
    name: [u8; NAME_LENGTH],
}

impl DirectoryEntry {
    fn take() -> Self {
        let size = u32::from_be_bytes(take());
        let key = u16::from_be_bytes(take());
        let _reserved = take::<2>();
        Self { size, key, name: take() }
    }

    fn is_called(&self, name: &str) -> bool {
        self.name.split(|&byte| byte == 0).next() == Some(name.as_bytes())
    }
}

fn select(key: u16) {
    // SAFETY: the port belongs to this device, or to none; selecting has no other effect.
    unsafe { Port::new(SELECTOR).write(key) };
}

fn take_byte() -> u8 {
    // SAFETY: as above; reading moves to the next byte.
    unsafe { PortReadOnly::<u8>::new(DATA).read() }
}

fn take<const N: usize>() -> [u8; N] {
    core::array::from_fn(|_| take_byte())
}
