//! The figures as tables of text.

mod instead;
mod shared;

use std::fmt::Write as _;
use std::thread;

use super::cases::{PCPU, VMAP};
use super::figure::{Figure, Figures, Part, System};
use super::timed::{FLUSHES, INTERRUPTS, RATE, WAITS};

/// What Linux's zeroed cases are to be read with.
const ZEROING: &str = "Linux zeroes each time: about 20500 instructions of fix_align_alloc_test in \
    Linux 7.2.13. Here pages that were not written since are not zeroed again.";

/// How tables with two systems are to be read.
const RATIO: &str = "A ratio is the number here to the one before it.\n";

/// All figures, a table for each part that has some.
#[must_use]
pub fn all(figures: &Figures) -> String {
    let counted = [Part::Cases, Part::Sizes, Part::Live].map(|part| counted(figures, part));
    let others = [timed(figures), shared::table(figures), instead::table(figures)];
    let tables = counted.into_iter().chain(others).filter(|table| !table.is_empty());
    tables.collect::<Vec<_>>().join("\n")
}

/// The table of a part whose figures are instructions a loop.
fn counted(figures: &Figures, part: Part) -> String {
    let rows: Vec<&Figure> = figures.of(part, System::Here).collect();
    let Some(&first) = rows.first() else { return String::new() };
    let loops = joined(&first.loops);
    let mut text = format!("Instructions a loop: the difference of {loops} loops. {}.\n", ran_on(first));
    if let Some(linux) = figures.of(part, System::Linux).next() {
        let _ = writeln!(text, "Linux: {}{}.", ran_on(linux), recorded(linux));
        if part == Part::Cases {
            text += ZEROING;
            text.push('\n');
        }
    }
    let beside = others(figures, part);
    if !beside.is_empty() {
        text += RATIO;
    }
    let mut table = vec![vec!["case".to_owned(), String::new(), "here".to_owned()]];
    table[0].extend(beside.iter().flat_map(|system| [title(*system).to_owned(), "ratio".to_owned()]));
    for figure in rows {
        let unit = if figure.subject.case == PCPU { ", an object" } else { "" };
        let memory = &figure.conditions.memory;
        let other_memory = match *memory == first.conditions.memory {
            true => String::new(),
            false => format!(", {memory} memory"),
        };
        let other_loops = match figure.loops == first.loops {
            true => String::new(),
            false => format!(", {} loops", joined(&figure.loops)),
        };
        let name = format!("{}{unit}{other_memory}{other_loops}", figure.subject);
        let case = Some(figure.subject.case).filter(|case| *case != VMAP);
        let mut row = vec![case.map_or(String::new(), |case| case.to_string()), name, figure.outcome.shown()];
        row.extend(beside.iter().flat_map(|system| compared(figure, figures.beside(figure, *system))));
        table.push(row);
    }
    text + &aligned(&table, 2)
}

/// The numbers of loops, as text has them.
fn joined(loops: &[u64]) -> String {
    loops.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// The table of what was timed.
fn timed(figures: &Figures) -> String {
    let rows: Vec<&Figure> =
        figures.of(Part::Timed, System::Here).filter(|figure| figure.unit == RATE).collect();
    let Some(&first) = rows.first() else { return String::new() };
    let mut text = format!(
        "Loops a second of all workers together, one for each CPU; medians of {} rounds. {}, {} memory, {} \
         build; this computer has {} CPUs.\nA million loops: interrupts that made CPUs flush, flushes, waits for \
         a lock.\n",
        first.rounds,
        first.conditions.accelerator,
        first.conditions.memory,
        first.conditions.profile,
        thread::available_parallelism().map_or(0, usize::from)
    );
    if let Some(linux) = figures.of(Part::Timed, System::Linux).next() {
        let fewer = match first.loops == linux.loops {
            true => "",
            false => ", in fewer loops",
        };
        let _ = writeln!(text, "Linux: on the same machines{fewer}{}.", recorded(linux));
    }
    let beside = others(figures, Part::Timed);
    if !beside.is_empty() {
        text += RATIO;
    }
    let titles = ["case", "", "CPUs", "loops", "loops/s", "scaled", "interrupts", "flushes", "lock waits"];
    let mut table = vec![titles.map(str::to_owned).to_vec()];
    table[0].extend(beside.iter().flat_map(|system| [title(*system).to_owned(), "ratio".to_owned()]));
    // All CPUs of a case together.
    let mut by_case = rows.clone();
    by_case.sort_by_key(|figure| figure.subject.case);
    for figure in by_case {
        let one = rows.iter().find(|one| one.subject == figure.subject && one.conditions.cpus == 1);
        let other = |unit: &str| {
            let same = |other: &&Figure| {
                other.subject == figure.subject
                    && other.conditions.cpus == figure.conditions.cpus
                    && other.unit == unit
            };
            figures
                .of(Part::Timed, System::Here)
                .find(same)
                .map_or(String::new(), |other| other.outcome.shown())
        };
        let mut row = vec![
            figure.subject.case.to_string(),
            figure.subject.to_string(),
            figure.conditions.cpus.to_string(),
            figure.loops.iter().map(ToString::to_string).collect(),
            figure.outcome.shown(),
            one.and_then(|one| ratio(figure, one)).map_or(String::new(), |ratio| format!("{ratio:.2}")),
            other(INTERRUPTS),
            other(FLUSHES),
            other(WAITS),
        ];
        row.extend(beside.iter().flat_map(|system| compared(figure, figures.beside(figure, *system))));
        table.push(row);
    }
    text + &aligned(&table, 2)
}

/// What else ran this part.
fn others(figures: &Figures, part: Part) -> Vec<System> {
    let has = |system: &System| figures.of(part, *system).next().is_some();
    [System::Floor, System::Linux].into_iter().filter(has).collect()
}

fn title(system: System) -> &'static str {
    match system {
        System::Here => "here",
        System::Floor => "floor",
        System::FreeList => "free-list",
        System::Vmem => "vmem",
        System::Linux => "Linux",
    }
}

/// Another system's figure, and this one's part of it; blank where there is none.
fn compared(here: &Figure, other: Option<&Figure>) -> [String; 2] {
    let Some(other) = other else { return [String::new(), String::new()] };
    let ratio = ratio(here, other).map_or(String::new(), |ratio| match ratio {
        ..10.0 => format!("{ratio:.3}"),
        _ => format!("{ratio:.1}"),
    });
    [other.outcome.shown(), ratio]
}

fn ratio(one: &Figure, other: &Figure) -> Option<f64> {
    let (one, other) = (one.outcome.value()?, other.outcome.value()?);
    (other != 0.0).then_some(one / other)
}

fn ran_on(figure: &Figure) -> String {
    format!("{}, {} build", figure.conditions, figure.conditions.profile)
}

fn recorded(figure: &Figure) -> &'static str {
    if figure.recorded { "; RECORDED, not measured now" } else { "" }
}

/// The table's columns one beside the other; the first `left` of them begin, the others end in line.
fn aligned(rows: &[Vec<String>], left: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| {
        rows.iter().filter_map(|row| row.get::<usize>(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = match column < left {
                true => write!(line, "{cell:width$}  "),
                false => write!(line, "{cell:>width$}  "),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
