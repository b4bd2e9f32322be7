//! Attempts at memory that may not be there: an access that faults is reported to who made it, and ends nothing.
//!
//! The two instructions that make attempts stand alone, each at the start of a function in assembly. A fault at one of them
//! goes on where that function returns a failure; see [`recover`].

use super::exceptions::Registers;
use core::arch::global_asm;

global_asm!(
    ".global attempt_read",
    "attempt_read:",
    "movzx eax, byte ptr [rdi]",
    "ret",
    ".global attempt_write",
    "attempt_write:",
    "mov byte ptr [rdi], sil",
    "xor eax, eax",
    "ret",
    ".global attempt_failed",
    "attempt_failed:",
    "mov eax, -1",
    "ret",
);

unsafe extern "C" {
    fn attempt_read(address: usize) -> i32;
    fn attempt_write(address: usize, byte: u8) -> i32;
    fn attempt_failed() -> i32;
}

/// Reads a byte, at any address. `None`: that faulted.
pub fn read(address: usize) -> Option<u8> {
    // SAFETY: a byte is read; a fault is recovered from. A read may have an effect where the registers of a device are: the
    // person who asks for it decides that.
    u8::try_from(unsafe { attempt_read(address) }).ok()
}

/// Writes a byte, at any address, and returns whether it did.
///
/// # Safety
/// Whoever owns the byte, if anybody does, bears that it changes.
#[must_use]
pub unsafe fn write(address: usize, byte: u8) -> bool {
    // SAFETY: a byte is written; a fault is recovered from. The caller promises the rest.
    unsafe { attempt_write(address, byte) == 0 }
}

/// Has a fault of an attempt go on where the attempt has failed. `false`: something else faulted.
pub(super) fn recover(registers: &mut Registers) -> bool {
    let attempts = [attempt_read as *const () as u64, attempt_write as *const () as u64];
    let is_attempt = attempts.contains(&registers.rip);
    if is_attempt {
        registers.rip = attempt_failed as *const () as u64;
    }
    is_attempt
}
