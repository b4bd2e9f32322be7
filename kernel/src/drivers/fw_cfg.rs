//! QEMU's firmware configuration device: small files that the host hands to the guest.
//!
//! Source: QEMU, docs/specs/fw_cfg.rst. Without the device every file is missing.
//! Ports that only QEMU has (fw_cfg, the exit device) are written only where a hypervisor is announced, because nobody
//! knows what a real machine has there.

use crate::arch::{cpu, paging};
use alloc::{string::String, vec, vec::Vec};
use core::sync::atomic::{AtomicU32, Ordering};
use vmalloc::PAGE_SIZE;
use x86_64::instructions::port::{Port, PortReadOnly};

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
/// The upper half of the physical address of a [`Transfer`], and behind it the lower, which starts it: both big-endian.
const TRANSFER: u16 = 0x514;
const KEY_SIGNATURE: u16 = 0x00;
const KEY_FEATURES: u16 = 0x01;
/// In what `KEY_FEATURES` tells: the device takes transfers.
const HAS_TRANSFERS: u32 = 1 << 1;
const KEY_DIRECTORY: u16 = 0x19;
const NAME_LENGTH: usize = 56;

/// The text of the file called `name`; `None` if there is no such file. Called by one thread at a time: the device
/// goes from byte to byte.
///
/// # Panics
/// If the file is not UTF-8: the host runner writes no other.
pub(crate) fn read(name: &str) -> Option<String> {
    let mut file = open(name)?;
    let mut bytes = vec![0; file.left()];
    file.read(&mut bytes);
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(_) => panic!("fw_cfg file {name} is not UTF-8"),
    }
}

/// A file that is read from its beginning to its end, and no other meanwhile.
pub(crate) struct File {
    left: u32,
    has_transfers: bool,
}

/// Opens the file called `name`; `None` if there is no such file. Called by one thread at a time, and not before the file
/// that was opened last has been read.
pub(crate) fn open(name: &str) -> Option<File> {
    if !cpu::is_virtual() {
        return None;
    }
    select(KEY_SIGNATURE);
    if take::<4>() != *b"QEMU" {
        return None;
    }
    select(KEY_FEATURES);
    let has_transfers = u32::from_le_bytes(take()) & HAS_TRANSFERS != 0;
    select(KEY_DIRECTORY);
    let count = u32::from_be_bytes(take());
    // The whole directory must be read before another key is selected.
    let entries: Vec<_> = (0..count).map(|_| DirectoryEntry::take()).collect();
    let entry = entries.iter().find(|entry| entry.is_called(name))?;
    select(entry.key);
    Some(File { left: entry.size, has_transfers })
}

impl File {
    /// Bytes that have not been read.
    pub fn left(&self) -> usize {
        self.left as usize
    }

    /// Reads the next bytes. `false`: there are not as many, and none was read.
    pub fn read(&mut self, bytes: &mut [u8]) -> bool {
        let enough = bytes.len() <= self.left();
        if enough {
            self.left -= bytes.len() as u32;
            match self.has_transfers {
                true => within_pages(bytes).for_each(Transfer::read),
                false => bytes.fill_with(take_byte),
            }
        }
        enough
    }
}

/// Cuts bytes where pages end: the device knows physical addresses.
fn within_pages(mut bytes: &mut [u8]) -> impl Iterator<Item = &mut [u8]> {
    core::iter::from_fn(move || {
        let rest = core::mem::take(&mut bytes);
        let in_page = PAGE_SIZE - rest.as_ptr() as usize % PAGE_SIZE;
        let (piece, rest) = rest.split_at_mut(in_page.min(rest.len()));
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// What the device is asked to write to memory: a byte at a time through a port takes microseconds each. Big-endian.
// Aligned, so that it lies in one page.
#[repr(C, align(16))]
struct Transfer {
    control: AtomicU32,
    length: u32,
    address: [u8; 8],
}

impl Transfer {
    /// In `control`: to memory. The device clears it when that is done.
    const READ: u32 = 1 << 1;
    /// In `control`: it could not be done.
    const ERROR: u32 = 1;

    /// Fills the bytes, which lie in one page, and are one at least.
    fn read(bytes: &mut [u8]) {
        // By the CPU, which marks the page's entry as dirty: the device does not, and who asks for zeros would find them there.
        bytes[0] = 0;
        let address = physical(bytes.as_ptr() as usize).to_be_bytes();
        let transfer = Self {
            control: AtomicU32::new(Self::READ.to_be()),
            length: (bytes.len() as u32).to_be(),
            address,
        };
        let at = physical((&raw const transfer) as usize);
        // SAFETY: the device writes to `bytes` and `control`, which are this function's until it is done. The assembly of
        // a port's `write` counts as reading and writing all memory, so the compiler keeps the order.
        unsafe {
            Port::new(TRANSFER).write(((at >> 32) as u32).to_be());
            Port::new(TRANSFER + 4).write((at as u32).to_be());
        }
        loop {
            match u32::from_be(transfer.control.load(Ordering::Acquire)) {
                0 => return,
                control if control & Self::ERROR != 0 => panic!("fw_cfg cannot write to memory"),
                _ => core::hint::spin_loop(),
            }
        }
    }
}

/// The physical address of what is mapped.
fn physical(address: usize) -> u64 {
    match paging::physical(address as u64) {
        Some(physical) => physical,
        None => unreachable!("what is used is mapped"),
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
