//! The figures as tables of text.

use std::fmt::Write as _;

use super::cases::PCPU;
use super::figure::{Figure, Figures, Part, System};

/// All figures, a table for each part that has some.
#[must_use]
pub fn all(figures: &Figures) -> String {
    let tables = [Part::Cases].map(|part| counted(figures, part));
    tables.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The table of a part whose figures are instructions a loop.
fn counted(figures: &Figures, part: Part) -> String {
    let rows: Vec<&Figure> = figures.of(part, System::Here).collect();
    let Some(first) = rows.first() else { return String::new() };
    let title = format!(
        "Instructions a loop, the difference of {} loops; {}, release build",
        first.loops.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
        first.conditions
    );
    let mut table = vec![vec!["case".to_owned(), String::new(), "here".to_owned()]];
    for figure in rows {
        let subject = &figure.subject;
        let unit = if subject.case == PCPU { ", an object" } else { "" };
        table.push(vec![subject.case.to_string(), format!("{subject}{unit}"), figure.outcome.shown()]);
    }
    format!("{title}\n{}", aligned(&table, 2))
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
