//! The console command `mark`: a moment for who counts instructions from outside.

use crate::command::CommandError;
use core::arch::asm;

/// What `help mark` says.
pub const ABOUT: &str =
    "does nothing, by an instruction that bench/counter, a plugin of QEMU's, keeps its counts at";

/// The console command.
///
/// # Errors
/// Never.
pub fn command(_: &[&str]) -> Result<(), CommandError> {
    // SAFETY: a `nop` does not access the memory that it names.
    unsafe {
        asm!("nop dword ptr [rax + {}]", const protocol::MARK, options(nomem, nostack, preserves_flags))
    };
    Ok(())
}
