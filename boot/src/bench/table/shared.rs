//! The table of what several CPUs did and cost each other.

use std::fmt::Write as _;

use super::super::figure::{Figure, Figures, Outcome, Part, System};
use super::super::shared::{counts::KINDS, model};
use super::{aligned, ran_on, ratio, title};

/// The titles of what is counted, in the order of [`KINDS`], and of the model.
const TITLES: [&str; KINDS.len() + 1] =
    ["instructions", "locked", "lines", "INVLPG", "CR3", "CR4", "interrupts", "PAUSE", "cycles"];

/// The table; empty if nothing was counted.
pub fn table(figures: &Figures) -> String {
    let all: Vec<&Figure> = figures.0.iter().filter(|figure| figure.part == Part::Shared).collect();
    let rows: Vec<&Figure> = all.iter().filter(|figure| figure.unit == KINDS[0].1).copied().collect();
    let Some(&first) = rows.first() else { return String::new() };
    let mut text = format!(
        "A loop, on the average of all workers, one for each CPU: the difference of runs of so many loops; medians \
         of {} rounds, and half of how far these lay apart.\n{}.\nLines: cache lines moved \
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
    let mut reasons = Vec::new();
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
            let why = format!("none: {}\n", row.outcome.shown());
            if !reasons.contains(&why) {
                reasons.push(why);
            }
            cells.push("none".to_owned());
            table.push(cells);
            continue;
        };
        let units = KINDS.iter().map(|(_, unit)| *unit).chain([model::UNIT]);
        cells.extend(units.map(|unit| like(row.system, unit).map_or(String::new(), cell)));
        if let (System::Here, Some(here), Some(linux)) =
            (row.system, like(System::Here, model::UNIT), like(System::Linux, model::UNIT))
        {
            cells.extend(ratio(here, linux).filter(|ratio| *ratio > 0.0).map(|ratio| format!("{ratio:.3}")));
        }
        table.push(cells);
    }
    text + &aligned(&table, if has_linux { 3 } else { 2 }) + &reasons.concat()
}

/// A number with as many digits as say something, and how far the rounds were from each other.
fn cell(figure: &Figure) -> String {
    let Some(value) = figure.outcome.value() else { return figure.outcome.shown() };
    let digits = match value.abs() {
        ..0.0005 if figure.range.is_none_or(|range| range.iter().all(|end| end.abs() < 0.0005)) => {
            return "0".to_owned();
        }
        ..1.0 => 3,
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    let spread = figure.range.map(|[least, greatest]| format!(" ±{:.digits$}", (greatest - least) / 2.0));
    format!("{value:.digits$}{}", spread.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cases::Subject;
    use crate::bench::figure::Conditions;

    /// All figures of a case: of each unit the value given, and the model's.
    fn figures(system: System, case: u64, cpus: u16, value: f64, cycles: f64) -> Vec<Figure> {
        let accelerator = "tcg, thread=multi, QEMU 7.2.22, counted by its plugin".to_owned();
        let conditions =
            Conditions { accelerator, cpus, workers: cpus, memory: "2G".into(), profile: "release".into() };
        let figure = |unit: &str, value: f64| Figure {
            part: Part::Shared,
            system,
            subject: Subject::new(case),
            conditions: conditions.clone(),
            loops: vec![10, 50],
            rounds: 3,
            unit: unit.to_owned(),
            recorded: false,
            outcome: Outcome::Measured { value },
            range: Some([value - 2.0, value + 4.0]),
        };
        let counted = KINDS.iter().map(|(_, unit)| figure(unit, value));
        counted.chain([figure(model::UNIT, cycles)]).collect()
    }

    /// Seen failing with the figures of the other machine taken.
    #[test]
    fn a_row_for_each_case_machine_and_system() {
        let all = [
            figures(System::Here, 1, 4, 400.0, 100.0),
            figures(System::Here, 1, 2, 200.0, 50.0),
            figures(System::Linux, 1, 2, 2000.0, 500.0),
        ];
        let text = table(&Figures(all.concat()));
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with("1 "))
            .map(|line| line.split("  ").collect())
            .collect();
        let words: Vec<String> = rows.iter().map(|row| row.concat()).collect();
        assert_eq!(rows.len(), 3, "{text}");
        assert!(words[0].starts_with("1 fix_size_alloc_testhere") && words[0].contains("200 ±3"), "{text}");
        assert!(words[0].ends_with("50.0 ±3.00.100"), "{text}");
        assert!(words[1].contains("Linux") && words[1].contains("2000 ±3") && words[2].contains("400 ±3"));
        for part in
            ["QEMU 7.2.22", "release build", "medians of 3 rounds", "a line moved 70", "no measurement"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("1 CPU"), "the machines are in the rows: {text}");
    }

    #[test]
    fn what_failed_says_why_and_nothing_is_no_table() {
        assert_eq!(table(&Figures::default()), "");
        let mut all = figures(System::Here, 1, 2, 1.0, 1.0);
        all.iter_mut().for_each(|figure| figure.outcome = Outcome::Failed { failed: "broke".into() });
        let text = table(&Figures(all));
        assert!(text.ends_with("\nnone: broke\n") && text.matches("none").count() == 2, "{text}");
    }

    /// Seen failing with small numbers cut to 0.
    #[test]
    fn numbers_have_the_digits_that_say_something() {
        let shown = |value: f64, range| {
            let figure = figures(System::Here, 1, 2, value, 1.0).remove(0);
            cell(&Figure { range, ..figure })
        };
        assert_eq!(shown(0.0, Some([0.0, 0.0])), "0");
        assert_eq!(shown(0.0, Some([-0.1, 0.3])), "0.000 ±0.200");
        assert_eq!(shown(0.0372, Some([0.03, 0.05])), "0.037 ±0.010");
        assert_eq!(shown(3.456, Some([3.0, 4.0])), "3.46 ±0.50");
        assert_eq!(shown(45.67, None), "45.7");
        assert_eq!(shown(1234.5, Some([1000.0, 1500.0])), "1234 ±250");
    }
}
