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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::experiments::replayed::{Recording, Skipped};

    /// Seen failing without the empty line above the notes.
    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let row = |name: &str, here, linux, cost| Row { name: name.into(), here, linux, cost };
        let mut figures = Replayed {
            trace: "t".into(),
            machine: "m".into(),
            cpus: 1,
            loops: 1,
            calls: 7,
            recorded_seconds: 1.0,
            seconds: 2.0,
            unit: "ns a call".into(),
            rows: vec![row("vfree", Some(12345), Some(7), Some(9.6)), row("purged pages", None, None, None)],
            skipped: Skipped::default(),
            recording: Recording::default(),
        };
        let rows = "
               here  Linux  ns a call
vfree         12345      7         10
purged pages      -      -
";
        let head = figures.head();
        assert_eq!(table(&figures), format!("{head}\n{rows}"));
        figures.skipped.other = 3;
        assert_eq!(table(&figures), format!("{head}\n{rows}\n3 events of other kinds\n"));
    }
}
