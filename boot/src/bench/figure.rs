//! What was measured: figures, each with all that it depends on.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::cases::Subject;

/// Parts of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Instructions a loop of each case
    Cases,
    /// Instructions a loop by the size of what is allocated, beside a floor
    Sizes,
    /// Instructions a loop while many areas are live
    Live,
    /// Time on 1, 2 and 4 CPUs
    Timed,
    /// What 2 and 4 CPUs do and cost each other a loop, counted: instructions, locks, cache lines moved, flushes
    Shared,
    /// Instructions, interrupts and flushes, beside what a kernel would write without the library
    Instead,
    /// What went wrong elsewhere once, beside what is done here: the console's `history`
    History,
    /// How late threads are woken: the console's `latency`
    Latency,
    /// A trace that was replayed, which is no part of the suite.
    #[value(skip)]
    Replay,
}

/// What ran the loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// This kernel.
    Here,
    /// This kernel's command `floor`: page table entries and frames, and nothing else.
    Floor,
    /// This kernel without its library: addresses by the crate `free-list`, `x86_64`'s mapper, a flush at once.
    FreeList,
    /// The same work with addresses by the crate `vmem`.
    Vmem,
    /// Linux.
    Linux,
}

impl System {
    /// The name of the crate that gives addresses instead of this kernel's library, if one does.
    #[must_use]
    pub fn instead(self) -> Option<&'static str> {
        match self {
            Self::FreeList => Some("free-list"),
            Self::Vmem => Some("vmem"),
            Self::Here | Self::Floor | Self::Linux => None,
        }
    }
}

/// Before the name of what it ran; nothing for this kernel.
impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here => "",
            Self::Floor => "floor of ",
            Self::FreeList => "free-list: ",
            Self::Vmem => "vmem: ",
            Self::Linux => "Linux: ",
        })
    }
}

/// The machine, and what was built how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// What ran the instructions, and how they were counted.
    pub accelerator: String,
    /// CPUs of the machine.
    pub cpus: u16,
    /// Threads that ran the loops.
    pub workers: u16,
    /// The machine's memory.
    pub memory: String,
    /// How the kernel was compiled.
    pub profile: String,
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.cpus == 1 { "" } else { "s" };
        write!(f, "{}, {} CPU{plural}, {} memory", self.accelerator, self.cpus, self.memory)
    }
}

/// What came of a measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// A number.
    Measured {
        /// In the figure's unit.
        value: f64,
    },
    /// It was not made, and that is no failure.
    Left {
        /// Why not.
        left_out: String,
    },
    /// It went wrong.
    Failed {
        /// How.
        failed: String,
    },
}

impl Outcome {
    /// The number, if there is one.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Measured { value } => Some(*value),
            Self::Left { .. } | Self::Failed { .. } => None,
        }
    }

    /// A number with as many digits as say something, or why there is none.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Measured { value } if *value < 10.0 && value.fract() != 0.0 => format!("{value:.1}"),
            Self::Measured { value } => format!("{value:.0}"),
            Self::Left { left_out } => left_out.clone(),
            Self::Failed { failed } => failed.clone(),
        }
    }
}

/// One number and all that it depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Where it belongs.
    pub part: Part,
    /// What ran.
    pub system: System,
    /// What it ran.
    #[serde(flatten)]
    pub subject: Subject,
    /// What it ran on.
    #[serde(flatten)]
    pub conditions: Conditions,
    /// Loops of each worker: of the runs whose difference is counted, or of the run that is timed.
    pub loops: Vec<u64>,
    /// Runs of which the median is given.
    pub rounds: usize,
    /// What the number counts.
    pub unit: String,
    /// The number was not measured now, but is the one kept with the sources.
    pub recorded: bool,
    /// The number.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The least and the greatest of the runs, where that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

impl Figure {
    /// The number and its unit, or why there is none.
    #[must_use]
    pub fn told(&self) -> String {
        match self.outcome {
            Outcome::Measured { .. } => format!("{} {}", self.outcome.shown(), self.unit),
            Outcome::Left { .. } | Outcome::Failed { .. } => self.outcome.shown(),
        }
    }
}

/// All figures of a run, in the order they are shown in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Figures(pub Vec<Figure>);

impl Figures {
    /// Those of a part and a system.
    pub fn of(&self, part: Part, system: System) -> impl Iterator<Item = &Figure> {
        self.0.iter().filter(move |figure| figure.part == part && figure.system == system)
    }

    /// What another system made of the same work.
    #[must_use]
    pub fn beside(&self, figure: &Figure, system: System) -> Option<&Figure> {
        self.of(figure.part, system).find(|other| {
            (&other.subject, other.conditions.cpus, &other.unit)
                == (&figure.subject, figure.conditions.cpus, &figure.unit)
        })
    }
    /// Whether one went wrong.
    #[must_use]
    pub fn any_failed(&self) -> bool {
        self.0.iter().any(|figure| matches!(figure.outcome, Outcome::Failed { .. }))
    }
}
