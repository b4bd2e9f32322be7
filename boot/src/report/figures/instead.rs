//! Beside what a kernel would write without the library.

use crate::bench::figure::{Part, System};
use crate::bench::timed::INTERRUPTS;
use crate::report::data::Data;
use crate::report::draw::dots::{self, Dot, Row};
use crate::report::draw::{FREE_LIST, HERE, LINUX, Scale, VMEM};
use crate::report::figure::{Cell, Figure, Table, from_to, number, times};

use super::{FREE_LISTS, LINUXS, OURS, VMEMS, name};

/// Who does the same work.
const OTHERS: [(System, plotters::style::RGBColor); 3] =
    [(System::Linux, LINUX), (System::FreeList, FREE_LIST), (System::Vmem, VMEM)];

/// What a drawing of one unit is made of.
struct Parts {
    rows: Vec<Row>,
    table: Table,
    /// The least of the crates to this library, for each case.
    ratios: Vec<f64>,
}

/// Those of one unit.
fn parts(data: &Data, is_wanted: impl Fn(&str, &str) -> bool) -> Option<Parts> {
    let heads = vec!["case", "this library", "Linux", "by free-list", "by vmem"];
    let mut parts = Parts { rows: Vec::new(), table: Table { heads, rows: Vec::new() }, ratios: Vec::new() };
    for (figure, value) in data.measured(Part::Instead, System::Here) {
        if !is_wanted(&figure.unit, figure.subject.unit()) {
            continue;
        }
        let others = OTHERS.map(|(system, colour)| (data.beside(figure, system), colour));
        let crates = others[1..].iter().filter_map(|(value, _)| *value);
        let ratio =
            crates.min_by(f64::total_cmp).map(|least| least / value).filter(|ratio| ratio.is_finite());
        let dots = others.into_iter().chain([(Some(value), HERE)]);
        let dots =
            dots.filter_map(|(value, colour)| Some(Dot { value: value?, range: None, colour, full: true }));
        let note = ratio.map(times).unwrap_or_default();
        parts.rows.push(Row { name: name(&figure.subject), dots: dots.collect(), strokes: Vec::new(), note });
        let cells = [Some(value)].into_iter().chain(others.map(|(value, _)| value)).map(Cell::drawn);
        parts.table.rows.push([Cell::text(name(&figure.subject))].into_iter().chain(cells).collect());
        parts.ratios.extend(ratio);
    }
    (!parts.rows.is_empty()).then_some(parts)
}

fn scale(parts: &Parts) -> Scale {
    Scale::log(parts.rows.iter().flat_map(|row| row.dots.iter().map(|dot| dot.value)))
}

pub(super) fn instructions(data: &Data) -> Option<Figure> {
    let parts = parts(data, |unit, counted| unit == counted)?;
    Some(Figure {
        id: "instead",
        title: format!(
            "What a kernel would write without the library takes at least {} times as many instructions",
            from_to(parts.ratios.iter().copied().min_by(f64::total_cmp))
        ),
        says: "The same loops with addresses by a crate that gives ranges, page table entries by the crate x86_64, and a \
            flush at each free. At the end of a row stands how many times the better crate takes."
            .into(),
        command: "./run.sh bench instead --linux".into(),
        legend: vec![OURS, LINUXS, FREE_LISTS, VMEMS],
        drawing: dots::draw(&parts.rows, &scale(&parts), "instructions a loop", "crate / this"),
        table: parts.table,
    })
}

pub(super) fn interrupts(data: &Data) -> Option<Figure> {
    let mut parts = parts(data, |unit, _| unit == INTERRUPTS)?;
    let here = || parts.rows.iter().filter_map(|row| row.dots.last()).map(|dot| dot.value);
    let most = here().max_by(f64::total_cmp).filter(|most| *most > 0.0);
    let title = match most {
        Some(most) => format!(
            "Without the library about every free interrupts the other CPU; with it one in {} at most",
            number((1e6 / most).round())
        ),
        None => "Without the library about every free interrupts the other CPU; with it none".into(),
    };
    // Linux does not count them.
    parts.table.heads.remove(2);
    for row in &mut parts.table.rows {
        row.remove(2);
    }
    Some(Figure {
        id: "interrupts",
        title,
        says: "Interrupts that make the other CPU flush, a million loops, while 2 CPUs both work.".into(),
        command: "./run.sh bench instead".into(),
        legend: vec![OURS, FREE_LISTS, VMEMS],
        drawing: dots::draw(&parts.rows, &scale(&parts), INTERRUPTS, "crate / this"),
        table: parts.table,
    })
}
