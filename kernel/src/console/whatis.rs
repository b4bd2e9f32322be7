//! `whatis`: what is, or was, at an address.

use crate::{command::CommandError, memory, println};
use alloc::format;

pub(super) const ABOUT: &str = "tells what is at an address: the area, or what was freed there, and its neighbours\n\
    The address is hexadecimal. What was freed is known while sysctl vmalloc.remember is not 0.";

pub(super) fn whatis(arguments: &[&str]) -> Result<(), CommandError> {
    let [argument] = arguments else { return Err(CommandError::new("takes one argument: an address")) };
    let address = parse_address(argument)?;
    println!("{address:#x} is {}", memory::vmalloc().whatis(address));
    Ok(())
}

/// Reads a hexadecimal address, with `0x` before it or without.
pub(super) fn parse_address(word: &str) -> Result<usize, CommandError> {
    let digits = word.strip_prefix("0x").unwrap_or(word);
    // The parser allows a sign.
    let address = if digits.starts_with('+') { None } else { usize::from_str_radix(digits, 16).ok() };
    address.ok_or_else(|| CommandError::new(format!("{word}: not a hexadecimal address")))
}
