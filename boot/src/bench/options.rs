//! What the user says of the suite: which parts, beside what, on what.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::figure::Part;
use crate::machine::options::Accel;

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Run only these parts [default: all]
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Write all figures to this file too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Measure Linux too, on the same machines; it is built first, in some minutes
    #[arg(long)]
    pub linux: bool,
    /// Compare with what was recorded of Linux, and do not build it
    #[arg(long)]
    pub recorded: bool,
    /// What runs the guest's instructions where they are timed, not counted
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
}

impl Options {
    /// All parts, beside Linux as it is measured now or was recorded.
    #[must_use]
    pub fn all(linux: bool) -> Self {
        Self { parts: Vec::new(), json: None, linux, recorded: !linux, accel: Accel::Auto }
    }

    /// The parts to run, each once, in their order.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let all = Part::value_variants().iter().copied();
        all.filter(|part| self.parts.is_empty() || self.parts.contains(part)).collect()
    }
}
