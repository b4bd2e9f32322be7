//! The table of what several CPUs did and cost each other.

use std::fmt::Write as _;

use super::super::figure::{Figure, Figures, Outcome, Part, System};
use super::super::shared::{counts::KINDS, model};
use super::{aligned, ran_on, ratio, title};

/// The titles of what is counted, in the order of [`KINDS`], and of the model.
const TITLES: [&str; KINDS.len() + 1] =
    ["instructions", "locked", "lines", "INVLPG", "CR3", "CR4", "interrupts", "cycles"];

/// The table; empty if nothing was counted.
pub fn table(figures: &Figures) -> String {
    let all: Vec<&Figure> = figures.0.iter().filter(|figure| figure.part == Part::Shared).collect();
    let rows: Vec<&Figure> = all.iter().filter(|figure| figure.unit == KINDS[0].1).copied().collect();
    let Some(&first) = rows.first() else { return String::new() };
    let mut text = format!(
        "A loop, on the average of all workers, one for each CPU: the difference of runs of so many loops; medians \
         of {} rounds, and how far from each other these were (the half of it).\n{}.\nLines: cache lines moved \
         between CPUs, in a model of caches that never forget; they depend on how the CPUs' loops mix. Cycles: a \
         model, no measurement: {}.\n",
        first.rounds,
        ran_on(first).replace(&format!("{} CPUs, ", first.conditions.cpus), ""),
        model::told(),
    );
    let has_linux = rows.iter().any(|figure| figure.system == System::Linux);
    if has_linux {
        let _ = writeln!(text, "Linux: on the same machines. A ratio is that of the cycles here to Linux's.");
    }
    let mut heads = vec!["case", "", "CPUs", "loops"];
    heads.extend(TITLES);
    if has_linux {
        heads.insert(2, "");
        heads.push("ratio");
    }
    let mut table = vec![heads.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    let mut by_case = rows;
    by_case.sort_by_key(|figure| (figure.subject.case, figure.conditions.cpus));
    for row in by_case {
        let like = |system: System, unit: &str| {
            let same = |other: &&&Figure| {
                other.subject == row.subject
                    && other.conditions.cpus == row.conditions.cpus
                    && (other.system, other.unit.as_str()) == (system, unit)
            };
            all.iter().find(same).copied()
        };
        let loops: Vec<String> = row.loops.iter().map(ToString::to_string).collect();
        let mut cells = vec![row.subject.case.to_string(), row.subject.to_string()];
        if has_linux {
            cells.push(title(row.system).to_owned());
        }
        cells.extend([row.conditions.cpus.to_string(), loops.join(", ")]);
        let Outcome::Measured { .. } = row.outcome else {
            cells.push(row.outcome.shown());
            table.push(cells);
            continue;
        };
        let units = KINDS.iter().map(|(_, unit)| *unit).chain([model::UNIT]);
        cells.extend(units.map(|unit| like(row.system, unit).map_or(String::new(), cell)));
        if let (System::Here, Some(here), Some(linux)) =
            (row.system, like(System::Here, model::UNIT), like(System::Linux, model::UNIT))
        {
            cells.extend(ratio(here, linux).map(|ratio| format!("{ratio:.3}")));
        }
        table.push(cells);
    }
    text + &aligned(&table, if has_linux { 3 } else { 2 })
}

/// A number with as many digits as say something, and how far the rounds were from each other.
fn cell(figure: &Figure) -> String {
    let Some(value) = figure.outcome.value() else { return figure.outcome.shown() };
    let digits = match value.abs() {
        ..0.0005 => return "0".to_owned(),
        ..1.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let spread = figure.range.map(|[least, greatest]| (greatest - least) / 2.0 / value.abs() * 100.0);
    format!("{value:.digits$}{}", spread.map_or(String::new(), |percent| format!(" \u{b1}{percent:.0}%")))
}
