//! Commands to play by hand: areas that are made, kept and freed one by one, and bytes that are looked at and changed.

pub(super) mod areas;
pub(super) mod bytes;
pub(super) mod hold;

use crate::command::CommandError;
use alloc::format;

/// Reads a hexadecimal address, with `0x` before it or without.
pub(super) fn parse_address(word: &str) -> Result<usize, CommandError> {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    // The parser allows a sign.
    let address = if digits.starts_with('+') { None } else { usize::from_str_radix(digits, 16).ok() };
    address.ok_or_else(|| CommandError::new(format!("{word}: not a hexadecimal address")))
}
