//! `whatis`: what is, or was, at an address.

use crate::{command::CommandError, console::play::parse_address, memory, println};

pub(in crate::console) const ABOUT: &str = "tells what is at an address: the area, or what was freed there, and its neighbours\n\
    The address is hexadecimal. What was freed is known while sysctl vmalloc.remember is not 0.";

pub(in crate::console) fn whatis(arguments: &[&str]) -> Result<(), CommandError> {
    let [argument] = arguments else { return Err(CommandError::new("takes one argument: an address")) };
    let address = parse_address(argument)?;
    println!("{address:#x} is {}", memory::vmalloc().whatis(address));
    Ok(())
}
