//! `perf`: where a command spends its time.

use super::commands;
use crate::{
    command::CommandError,
    drivers::serial,
    threads::profile::{self, Profile},
};
use protocol::Record;

pub(super) const ABOUT: &str = "runs a command, and says in which functions the CPUs were meanwhile\n\
    997 times a second each CPU that is not idle is looked at. The runner on the host turns the addresses into functions,\n\
    and names the line of each that was seen most. What runs with interrupts off is seen where it turns them on again.";

/// The console command.
///
/// # Errors
/// The line names what is wrong, or what the command failed for.
pub fn perf(arguments: &[&str]) -> Result<(), CommandError> {
    let Some((name, arguments)) = arguments.split_first() else {
        return Err(CommandError::new("takes a command to run"));
    };
    if *name == "perf" {
        return Err(CommandError::new("takes another command"));
    }
    let command = commands::find(name)?;
    let profile = Profile::start().map_err(|_| CommandError::new("no memory for the samples"))?;
    let result = commands::run(command, arguments);
    let samples = profile.stop();
    samples.iter().for_each(|(address, count)| serial::write_record(Record::Sample { address, count }));
    serial::write_record(Record::Profile { hertz: profile::SAMPLES, lost: samples.lost() });
    result
}
