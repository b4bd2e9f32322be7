//! `peek` and `poke`: bytes at any address. What faults is said, and ends nothing.

use super::parse_address;
use crate::{arch::interrupts::attempt, command::CommandError, memory, println};
use alloc::{format, string::String};

pub(in crate::console) const PEEK: &str = "shows N bytes of memory, 16 if N is left out; a page that is not there is said\n\
    N is 1 to 4096.";
pub(in crate::console) const POKE: &str = "writes a byte of memory; ADDRESS and BYTE are hexadecimal\n\
    Nobody asks whose the byte is: the kernel may not survive it.";

/// Bytes of a line.
const LINE: usize = 16;

/// Shows bytes.
///
/// # Errors
/// The line names the argument that is wrong, or says what is at the first address that cannot be read.
pub fn peek(arguments: &[&str]) -> Result<(), CommandError> {
    let (start, count) = match arguments {
        [start] => (start, 16),
        [start, count] => {
            let number = count.parse().ok().filter(|count| (1..=4096).contains(count));
            (start, number.ok_or_else(|| CommandError::new(format!("{count}: not a number from 1 to 4096")))?)
        }
        _ => return Err(CommandError::new("takes an address, and perhaps a number of bytes")),
    };
    let start = parse_address(start)?;
    for first in (0..count).step_by(LINE) {
        let address = start.wrapping_add(first);
        let (mut line, mut shown) = (format!("{address:#018x}"), String::new());
        for offset in 0..LINE.min(count - first) {
            let Some(byte) = attempt::read(address.wrapping_add(offset)) else {
                if offset > 0 {
                    println!("{line}  {shown}");
                }
                return Err(fault("read", address.wrapping_add(offset)));
            };
            line += &format!(" {byte:02x}");
            shown.push(if (b' '..0x7f).contains(&byte) { byte.into() } else { '.' });
        }
        println!("{line}  {shown}");
    }
    Ok(())
}

/// Writes a byte.
///
/// # Errors
/// The line names the argument that is wrong, or says what is at the address if it cannot be written.
pub fn poke(arguments: &[&str]) -> Result<(), CommandError> {
    let [address, word] = arguments else { return Err(CommandError::new("takes an address and a byte")) };
    let address = parse_address(address)?;
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
    let byte = byte.ok_or_else(|| CommandError::new(format!("{word}: not a hexadecimal byte")))?;
    // SAFETY: not safe: who plays was told.
    if unsafe { attempt::write(address, byte) } { Ok(()) } else { Err(fault("written", address)) }
}

/// What is said of an address that faults.
fn fault(access: &str, address: usize) -> CommandError {
    let whatis = format!("{}", memory::vmalloc().whatis(address));
    let what = whatis.lines().next().unwrap_or_default();
    CommandError::new(format!("page fault: {address:#x} cannot be {access}: it is {what}"))
}
