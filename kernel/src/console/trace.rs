//! `trace`: what vmalloc does, as it does it.

use crate::{arch::tsc, command::CommandError, memory, println, trace};
use alloc::format;

pub(super) const ABOUT: &str = "keeps the last events of vmalloc on each CPU: on, off, dump, clear\n\
    on       starts keeping them\n\
    off      stops; what was kept stays\n\
    dump     prints them, the oldest first: microseconds since the CPUs' reset, CPU, event\n\
    clear    forgets them\n\
    allocate, allocate_failed and free say what becomes of areas; one that is resized is freed as it was\n\
    and allocated as it is. purge_begin says how many pages wait for a flush, purge_end how many became\n\
    free, flush how many are flushed.";

/// The console command.
///
/// # Errors
/// The line names the argument that is wrong.
pub fn trace(arguments: &[&str]) -> Result<(), CommandError> {
    match arguments {
        ["on"] => {
            trace::make_rings().map_err(|_| CommandError::new("on: no memory for the events"))?;
            switch(true);
        }
        ["off"] => switch(false),
        ["dump"] => dump(),
        ["clear"] => trace::clear(),
        [] => return Err(CommandError::new("takes one argument: on, off, dump or clear")),
        [other] => return Err(CommandError::new(format!("{other}: neither on, off, dump nor clear"))),
        [_, extra, ..] => return Err(CommandError::new(format!("takes one argument, not {extra} too"))),
    }
    Ok(())
}

/// Has the kernel's instance traced, or not. What was traced before is still there.
fn switch(on: bool) {
    memory::vmalloc().set_trace(on);
}

fn dump() {
    let mut records = trace::dump();
    for record in &mut records {
        println!("{:>12} cpu{} {}", tsc::microseconds(record.time), record.cpu, record.event);
    }
    println!("{} events were overwritten by newer ones", records.overwritten());
}
