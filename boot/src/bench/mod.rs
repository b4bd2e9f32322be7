//! `bench`: the benchmark suite.
//!
//! | module | for |
//! |---|---|
//! | [`cases`] | what is measured |
//! | [`counted`] | instructions a loop |
//! | [`timed`] | loops a second on several CPUs |
//! | [`shared`] | what several CPUs do and cost each other, counted by a plugin of QEMU's |
//! | [`instead`] | both, beside what a kernel would write without the library |
//! | [`ours`] | runs commands on a machine of this kernel's |
//! | [`linux`] | runs Linux's test on the same machines |
//! | [`experiments`] | the console's `history` and `latency` |
//! | [`recorded`] | what Linux took, for where it cannot be built |
//! | [`summary`] | reads what the driver prints, ours or Linux's |
//! | [`figure`] | a number and all that it depends on |
//! | [`options`] | what the user says of it |
//! | [`table`] | tables of text |
//! | [`kept`] | all figures as JSON |

pub mod cases;
pub mod counted;
pub mod experiments;
pub mod figure;
pub mod instead;
pub mod kept;
pub mod linux;
mod options;
pub mod ours;
pub mod recorded;
pub mod shared;
pub mod summary;
pub mod table;
pub mod timed;

use std::io::Write;

use crate::status::{Doing, Result, Status};
use cases::Subject;
use experiments::{history, latency};
use figure::{Figures, Part};
use kept::{Kept, Measured};
use linux::Linux;
pub use options::Options;
use ours::Machines;
use recorded::Recorded;

/// Measures, tells how it goes on standard error, and prints tables.
///
/// # Errors
/// Something could not be built, started or written.
pub fn run(options: &Options) -> Result<Status> {
    let kept = options.json.as_deref().map(Kept::create).transpose()?;
    let (measured, text) = measure(options)?;
    std::io::stdout().write_all(text.as_bytes()).doing("write to standard output")?;
    if let Some(kept) = kept {
        kept.write(&measured.json())?;
    }
    Ok(if measured.any_failed() { Status::Failed } else { Status::Ok })
}

/// Measures, and tells how it goes on standard error: all that there is to keep, and tables of it.
///
/// # Errors
/// Something could not be built or started.
pub fn measure(options: &Options) -> Result<(Measured, String)> {
    let (linux, recorded) = peer(options)?;
    let machines = Machines::new(options.accel)?;
    let mut figures = Figures::default();
    let (mut history, mut latency, mut printed) = (None, None, String::new());
    for part in options.parts() {
        let measured = match part {
            Part::Cases => counted::run(&machines, linux.as_ref(), part, Subject::cases())?,
            Part::Sizes => counted::run(&machines, linux.as_ref(), part, Subject::sizes())?,
            Part::Live => counted::run(&machines, None, part, Subject::live())?,
            Part::Timed => timed::run(&machines, linux.as_ref())?,
            Part::Shared => shared::run(&machines, linux.as_ref())?,
            Part::Instead => instead::run(&machines, linux.as_ref())?,
            Part::History => {
                history = Some(history::run(&machines, &mut printed)?);
                continue;
            }
            Part::Latency => {
                latency = Some(latency::run(&machines, &mut printed)?);
                continue;
            }
            Part::Replay => continue,
        };
        figures.0.extend(measured);
    }
    if let Some(recorded) = &recorded {
        let beside = recorded.beside(&figures);
        figures.0.extend(beside);
    }
    let version = linux.map(|linux| linux.version).or(recorded.map(|recorded| recorded.version));
    let mut text = table::all(&figures) + &printed;
    if let Some(version) = &version {
        text += &format!("\nLinux: {version}\n");
    }
    Ok((Measured { history, latency, ..Measured::now(figures, version) }, text))
}

/// What is to be compared with, if the user wants that.
fn peer(options: &Options) -> Result<(Option<Linux>, Option<Recorded>)> {
    let built = if options.linux && !options.recorded { Linux::build()? } else { None };
    match built {
        Some(linux) => {
            eprintln!("bench: beside {}", linux.version);
            Ok((Some(linux), None))
        }
        None if options.linux || options.recorded => {
            let recorded = Recorded::read()?;
            eprintln!("bench: beside what was recorded of {}", recorded.version);
            Ok((None, Some(recorded)))
        }
        None => Ok((None, None)),
    }
}
