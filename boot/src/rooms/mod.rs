//! `rooms`: draws a crate's modules as rooms, and fails where one uses a room above it.
//!
//! A room is a top-level module. The file `ROOMS` beside the crate's `Cargo.toml` declares their order, which is also
//! the map for a reader: a room may use those below it, in imports and in calls. Calls are those that the compiler
//! resolved, so a method of a shared type counts for the room that it is written in. A call of a trait's method counts
//! for the room of the trait; whom it reaches by a `dyn` or a hook does not.
//!
//! Callable by `actions` alone. It runs cargo, whose messages tell where the compiler's text is.

pub mod arrow;
pub mod calls;
pub mod draw;
pub mod graph;
pub mod order;
pub mod plan;
pub mod sizes;
pub mod source;

use std::fs;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use self::plan::Plan;
use self::source::Source;
use crate::cargo;
use crate::status::{Doing, Result, Status};

/// A crate that has rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Crate {
    /// The vmalloc library
    Vmalloc,
    /// The kernel
    Kernel,
    /// The host program
    Boot,
}

impl Crate {
    fn package(self) -> &'static str {
        match self {
            Self::Vmalloc => "vmalloc",
            Self::Kernel => "kernel",
            Self::Boot => "boot",
        }
    }

    /// Its folder, from the workspace's on.
    fn folder(self) -> &'static str {
        match self {
            Self::Vmalloc => "kernel/vmalloc",
            Self::Kernel => "kernel",
            Self::Boot => "boot",
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::Kernel => "x86_64-unknown-none",
            Self::Vmalloc | Self::Boot => "host-tuple",
        }
    }
}

/// Draws the rooms of the crates, or of all if none is named.
///
/// # Errors
/// If a crate cannot be read or built. That a rule is broken is no error, but a status.
pub fn run(crates: &[Crate]) -> Result<Status> {
    let crates = if crates.is_empty() { Crate::value_variants() } else { crates };
    let mut status = Status::Ok;
    for (number, which) in crates.iter().enumerate() {
        if number > 0 {
            println!();
        }
        let (drawing, offences, summary) = check(*which)?;
        print!("{drawing}");
        for offence in &offences {
            println!("offence: {offence}");
        }
        print!("{summary}");
        if !offences.is_empty() {
            status = Status::Failed;
        }
    }
    Ok(status)
}

/// The drawing of a crate, what breaks the rules, and the crate in figures.
fn check(which: Crate) -> Result<(String, Vec<String>, String)> {
    let root = cargo::root();
    let folder = root.join(which.folder());
    let source = Source::read(&folder)?;
    let text = cargo::intermediate(which.package(), which.target())?;
    let mut arrows = source.arrows();
    arrows.extend(calls::arrows(&source, &text));
    let plan = Plan { folder: which.folder().into(), source, arrows, order: declared(which, &folder)? };
    let mut offences = plan.order_offences();
    offences.extend(plan.circle_offences());
    let others: Vec<PathBuf> = Crate::value_variants()
        .iter()
        .filter(|other| **other != which)
        .map(|other| root.join(other.folder()))
        .collect();
    let packages = sizes::packages(&folder, &others)?;
    for (package, files) in &packages {
        offences.extend(sizes::offences(files, root));
        if *package == folder {
            offences.extend(sizes::median_offence(package, files, root));
        }
    }
    Ok((draw::plan(&plan), offences, draw::summary(&plan, &packages[&folder], root)))
}

/// The declared order, if there is one.
fn declared(which: Crate, folder: &Path) -> Result<Option<Vec<order::Room>>> {
    let file = folder.join("ROOMS");
    if !file.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(&file).doing(format_args!("read {}", file.display()))?;
    order::parse(&format!("{}/ROOMS", which.folder()), &text).map(Some)
}

#[cfg(test)]
mod tests;
