//! What Linux took when it was measured last, for where it cannot be built.

use serde::Deserialize;
use std::fs;

use crate::places;
use crate::status::{Doing, Result};

use super::figure::{Figure, Figures, Outcome, Part, System};
use super::linux::Linux;
use super::ours;
use super::timed::{self, RATE};

/// Where it is kept.
const FILE: &str = "bench/linux/recorded.json";

/// All of it.
#[derive(Debug, Deserialize)]
pub struct Recorded {
    /// Linux's version, and what it was built from and with.
    pub version: String,
    instructions: Vec<Counted>,
    timed: Vec<Timed>,
}

/// Instructions a loop.
#[derive(Debug, Deserialize)]
struct Counted {
    case: u64,
    nr_pages: u64,
    instructions: f64,
}

/// Microseconds of some runs.
#[derive(Debug, Deserialize)]
struct Timed {
    case: u64,
    cpus: u16,
    workers: u16,
    loops: u64,
    usec: Vec<f64>,
}

impl Recorded {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not there, or is not what it should be.
    pub fn read() -> Result<Self> {
        let text = fs::read_to_string(places::root().join(FILE)).doing(format_args!("read {FILE}"))?;
        serde_json::from_str(&text).doing(format_args!("understand {FILE}"))
    }

    /// What there is beside the figures that were measured here, each marked as recorded.
    #[must_use]
    pub fn beside(&self, figures: &Figures) -> Vec<Figure> {
        let here =
            figures.0.iter().filter(|figure| figure.system == System::Here && figure.subject.is_linuxs());
        here.filter_map(|figure| self.figure(figure)).collect()
    }

    fn figure(&self, here: &Figure) -> Option<Figure> {
        let subject = &here.subject;
        let linux = Figure { system: System::Linux, recorded: true, range: None, ..here.clone() };
        if here.part == Part::Shared || (here.part == Part::Instead && here.unit != subject.unit()) {
            return None;
        }
        if here.part != Part::Timed {
            let is_same = |counted: &&Counted| {
                (counted.case, counted.nr_pages.max(1)) == (subject.case, subject.nr_pages)
            };
            let counted = self.instructions.iter().find(is_same)?;
            let conditions = ours::conditions(&ours::counted(Linux::ICOUNT_SHIFT, ours::MEMORY), 1);
            return Some(Figure {
                conditions,
                outcome: Outcome::Measured { value: counted.instructions },
                ..linux
            });
        }
        if here.unit != RATE {
            return None;
        }
        let is_same = |timed: &&Timed| {
            (timed.case, timed.cpus, timed.workers)
                == (subject.case, here.conditions.cpus, here.conditions.workers)
        };
        let recorded = self.timed.iter().find(is_same)?;
        let total = recorded.loops * u64::from(recorded.workers);
        let rate = |usec: f64| timed::per_second(total, usec as u64);
        let value = rate(timed::median(recorded.usec.clone()));
        let rates: Vec<f64> = recorded.usec.iter().copied().map(rate).collect();
        let range = timed::range(&rates).filter(|_| rates.len() > 1);
        let (loops, rounds) = (vec![recorded.loops], recorded.usec.len());
        Some(Figure { loops, rounds, outcome: Outcome::Measured { value }, range, ..linux })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cases::Subject;

    const TEXT: &str = r#"{"version": "Linux 7.2.13", "remarks": ["x"],
        "instructions": [{"case": 1, "name": "fix_size_alloc_test", "nr_pages": 1, "instructions": 3862}],
        "timed": [{"case": 1, "cpus": 2, "workers": 2, "loops": 20000, "usec": [9, 20000, 100000]}]}"#;

    fn here(part: Part, cpus: u16, unit: &str) -> Figure {
        let options = crate::machine::options::Options { cpus: Some(cpus), ..ours::counted(6, ours::MEMORY) };
        Figure {
            part,
            system: System::Here,
            subject: Subject::new(1),
            conditions: ours::conditions(&options, cpus),
            loops: vec![10_000, 20_000],
            rounds: 1,
            unit: unit.to_owned(),
            recorded: false,
            outcome: Outcome::Measured { value: 1.0 },
            range: None,
        }
    }

    /// Seen failing with sizes not told apart.
    #[test]
    fn recorded_figures_stand_beside_what_they_are_of() {
        let recorded: Recorded = serde_json::from_str(TEXT).unwrap();
        let without =
            Figure { subject: Subject { nr_pages: 4, ..Subject::new(1) }, ..here(Part::Sizes, 1, "x") };
        let figures = Figures(vec![
            here(Part::Cases, 1, Subject::new(1).unit()),
            here(Part::Timed, 2, RATE),
            here(Part::Timed, 2, timed::WAITS),
            here(Part::Timed, 4, RATE),
            here(Part::Instead, 2, timed::FLUSHES),
            without,
        ]);
        let beside = recorded.beside(&figures);
        let values: Vec<_> = beside.iter().map(|figure| figure.outcome.value().unwrap()).collect();
        assert_eq!(values, [3862.0, 2e6]);
        assert!(beside.iter().all(|figure| figure.recorded && figure.system == System::Linux));
        assert_eq!(beside[0].conditions.accelerator, "tcg, icount shift 0");
        assert_eq!(beside[1].loops, [20_000]);
        assert_eq!((beside[0].range, beside[1].range), (None, Some([4e5, 40_000.0 * 1e6 / 9.0])));
    }
}
