//! Each case of the driver, beside Linux and the floor.

use crate::bench::figure::{Part, System};
use crate::report::data::Data;
use crate::report::draw::dots::{self, Dot, Row};
use crate::report::draw::{FLOOR, HERE, LINUX, Scale};
use crate::report::figure::{Cell, Figure, Key, Sign, Table, from_to, times};

use super::{FLOORS, LINUXS, OURS, name};

/// What Linux takes is divided by these.
const PARTS: [f64; 2] = [10.0, 20.0];

pub(super) fn figure(data: &Data) -> Option<Figure> {
    let (mut rows, mut ratios) = (Vec::new(), Vec::new());
    let heads = vec!["case", "this library", "Linux", "floor", "Linux / this"];
    let mut table = Table { heads, rows: Vec::new() };
    for (figure, value) in data.measured(Part::Cases, System::Here) {
        let linux = data.beside(figure, System::Linux);
        let floor = data
            .measured(Part::Sizes, System::Floor)
            .find_map(|(floor, value)| (floor.subject == figure.subject).then_some(value));
        let dots = [(linux, LINUX), (floor, FLOOR), (Some(value), HERE)];
        let dots = dots
            .into_iter()
            .filter_map(|(value, colour)| Some(Dot { value: value?, range: None, colour, full: true }));
        let ratio = linux.map(|linux| linux / value);
        let strokes = linux.map(|linux| PARTS.map(|part| linux / part).to_vec()).unwrap_or_default();
        let note = ratio.map(times).unwrap_or_default();
        rows.push(Row { name: name(&figure.subject), dots: dots.collect(), strokes, note: note.clone() });
        let cells = [Some(value), linux, floor].map(Cell::drawn).to_vec();
        table.rows.push([vec![Cell::text(name(&figure.subject))], cells, vec![Cell::text(note)]].concat());
        ratios.extend(ratio);
    }
    let values = rows.iter().flat_map(|row| row.dots.iter().map(|dot| dot.value));
    let scale = Scale::log(values);
    let (title, note) = match ratios.is_empty() {
        true => ("What each case costs".to_owned(), ""),
        false => (format!("Linux takes {} times as many instructions", from_to(ratios)), "Linux / this"),
    };
    let tenth = Key { sign: Sign::Stroke, ..super::key(LINUX, "a tenth and a twentieth of Linux") };
    (!rows.is_empty()).then(|| Figure {
        id: "cases",
        title,
        says: "Instructions of one loop, for each case of Linux's own test of vmalloc (of pcpu, of one object), \
            counted exactly on one emulated CPU."
            .into(),
        command: "./run.sh bench cases sizes --linux".into(),
        legend: vec![OURS, LINUXS, FLOORS, tenth],
        drawing: dots::draw(&rows, &scale, "instructions a loop", note),
        table,
    })
}
