//! The table: what was done here beside what Linux did in the trace.

use std::fmt::Write;

use crate::bench::experiments::replayed::{Replayed, Row};

/// Writes the table and the lines below it.
pub fn table(figures: &Replayed) -> String {
    let mut text = format!("{}\n\n", figures.head());
    let number = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let unit = figures.unit.as_str();
    let mut rows = vec![["".to_owned(), "here".to_owned(), "Linux".to_owned(), unit.to_owned()]];
    for Row { name, here, linux, cost } in &figures.rows {
        let cost = cost.map_or(String::new(), |cost| format!("{cost:.0}"));
        rows.push([name.clone(), number(*here), number(*linux), cost]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    for [name, here, linux, cost] in &rows {
        let line = format!(
            "{name:0$}  {here:>1$}  {linux:>2$}  {cost:>3$}",
            widths[0], widths[1], widths[2], widths[3]
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let notes = figures.notes();
    if !notes.is_empty() {
        text += "\n";
    }
    for note in notes {
        let _ = writeln!(text, "{note}");
    }
    text
}
