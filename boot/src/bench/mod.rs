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
//! | [`recorded`] | what Linux took, for where it cannot be built |
//! | [`summary`] | reads what the driver prints, ours or Linux's |
//! | [`figure`] | a number and all that it depends on |
//! | [`options`] | what the user says of it |
//! | [`table`] | tables of text |
//! | [`report`] | all figures as JSON |

pub mod cases;
pub mod counted;
pub mod figure;
pub mod instead;
pub mod linux;
mod options;
pub mod ours;
pub mod recorded;
pub mod report;
pub mod shared;
pub mod summary;
pub mod table;
pub mod timed;

use std::io::Write;

use crate::status::{Doing, Result, Status};
use cases::Subject;
use figure::{Figures, Part};
use linux::Linux;
pub use options::Options;
use ours::Machines;
use recorded::Recorded;
use report::Report;

/// Measures, tells how it goes on standard error, and prints tables.
///
/// # Errors
/// Something could not be built, started or written.
pub fn run(options: &Options) -> Result<Status> {
    let report = options.json.as_deref().map(Report::create).transpose()?;
    let (linux, recorded) = peer(options)?;
    let machines = Machines::new(options.accel)?;
    let mut figures = Figures::default();
    for part in options.parts() {
        let measured = match part {
            Part::Cases => counted::run(&machines, linux.as_ref(), part, Subject::cases())?,
            Part::Sizes => counted::run(&machines, linux.as_ref(), part, Subject::sizes())?,
            Part::Live => counted::run(&machines, None, part, Subject::live())?,
            Part::Timed => timed::run(&machines, linux.as_ref())?,
            Part::Shared => shared::run(&machines, linux.as_ref())?,
            Part::Instead => instead::run(&machines, linux.as_ref())?,
        };
        figures.0.extend(measured);
    }
    if let Some(recorded) = &recorded {
        let beside = recorded.beside(&figures);
        figures.0.extend(beside);
    }
    let version = linux.map(|linux| linux.version).or(recorded.map(|recorded| recorded.version));
    let mut text = table::all(&figures);
    if let Some(version) = &version {
        text += &format!("\nLinux: {version}\n");
    }
    std::io::stdout().write_all(text.as_bytes()).doing("write to standard output")?;
    if let Some(report) = report {
        report.write(&figures, version)?;
    }
    Ok(if figures.any_failed() { Status::Failed } else { Status::Ok })
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
