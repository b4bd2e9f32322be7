//! `replay`: makes the calls of a recorded trace, in their order, each on the CPU that it was made on.
//!
//! `program` reads what the host made of the trace, batch by batch, `workers` go through a batch, `calls` makes one call on
//! an instance of its own and counts it, `map` tells what the address space looks like meanwhile, `counts` prints what came
//! of all. Called by the console, in a thread that may wait.
//! What is kept is what is alive: no more of the program than a batch.

mod calls;
mod counts;
mod map;
mod program;
mod workers;

use crate::{command::CommandError, drivers::fw_cfg, println};
use alloc::format;
use protocol::replay::FW_CFG_PROGRAM;

pub use counts::Counts;
pub use program::Source;
pub use workers::replay;

/// What `help replay` says.
pub const ABOUT: &str = "makes the calls of a trace that ./run.sh replay TRACE hands over\n\
    loop   times that all of it is replayed, with all areas freed between (1)\n\
    timed  1: at the recorded times, 0: as fast as it goes (0)\n\
    map    samples of the address space that are written, with the purges and flushes, to a file on the host (0)";

/// How the calls are to be made.
#[derive(Clone, Copy, Debug)]
pub struct Parameters {
    /// How often, with all areas freed between.
    pub loops: u32,
    /// At the recorded times, not as fast as it goes.
    pub timed: bool,
    /// Samples of the address space that are streamed.
    pub samples: u32,
}

/// The console command.
///
/// # Errors
/// The line names the argument that is wrong, or says what is wrong with the program.
pub fn command(arguments: &[&str]) -> Result<(), CommandError> {
    let mut parameters = Parameters { loops: 1, timed: false, samples: 0 };
    for word in arguments {
        match word.split_once('=') {
            Some(("loop", value)) => {
                parameters.loops = value.parse().ok().filter(|loops| *loops > 0).ok_or_else(|| {
                    CommandError::new(format!("{word}: not a number from 1 to {}", u32::MAX))
                })?;
            }
            Some(("map", value)) => {
                parameters.samples = value
                    .parse()
                    .map_err(|_| CommandError::new(format!("{word}: not a number from 0 to {}", u32::MAX)))?;
            }
            Some(("timed", "0")) => parameters.timed = false,
            Some(("timed", "1")) => parameters.timed = true,
            Some(("timed", _)) => return Err(CommandError::new(format!("{word}: neither 0 nor 1"))),
            _ => return Err(CommandError::new(format!("{word}: no such parameter"))),
        }
    }
    let open = || {
        fw_cfg::open(FW_CFG_PROGRAM)
            .ok_or_else(|| CommandError::new("there is no trace: ./run.sh replay TRACE hands one over"))
    };
    println!("{}", replay(open, parameters)?);
    Ok(())
}
