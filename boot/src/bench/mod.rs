//! `bench`: the benchmark suite.
//!
//! | module | for |
//! |---|---|
//! | [`cases`] | what is measured |
//! | [`counted`] | instructions a loop |
//! | [`ours`] | runs commands on a machine of this kernel's |
//! | [`summary`] | reads what the driver prints |
//! | [`figure`] | a number and all that it depends on |
//! | [`table`] | tables of text |

pub mod cases;
pub mod counted;
pub mod figure;
pub mod ours;
pub mod summary;
pub mod table;

use crate::cli;
use crate::status::{Result, Status};
use cases::Subject;
use figure::{Figures, Part};
use ours::Machines;

/// Measures, tells how it goes on standard error, and prints tables.
///
/// # Errors
/// Something could not be built or started.
pub fn run(options: &cli::Bench) -> Result<Status> {
    let machines = Machines::new(options.accel)?;
    let mut figures = Figures::default();
    for part in options.parts() {
        let measured = match part {
            Part::Cases => counted::run(&machines, part, Subject::cases())?,
            Part::Sizes => counted::run(&machines, part, Subject::sizes())?,
            Part::Live => counted::run(&machines, part, Subject::live())?,
            Part::Timed => Vec::new(),
        };
        figures.0.extend(measured);
    }
    print!("{}", table::all(&figures));
    Ok(if figures.any_failed() { Status::Failed } else { Status::Ok })
}
