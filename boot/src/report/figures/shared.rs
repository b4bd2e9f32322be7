//! Locked instructions, and cache lines that move between CPUs.

use crate::bench::figure::{Part, System};
use crate::report::data::Data;
use crate::report::draw::dots::{self, Dot, Row};
use crate::report::draw::{HERE, LINUX, Scale};
use crate::report::figure::{Cell, Figure, Key, Sign, Table, key, number, times};

use super::{LINUXS, OURS, name};

/// Below this, it is noise of the two runs whose difference is told.
const LEAST: f64 = 0.1;

pub(super) fn locked(data: &Data) -> Option<Figure> {
    let (rows, table, simplest) = parts(data, "locked instructions a loop")?;
    Some(Figure {
        id: "locked",
        title: match simplest {
            (here, Some(linux)) => format!(
                "In the simplest loop {} locked instruction, where Linux has {}",
                number(here.round()),
                number(linux.round())
            ),
            (here, None) => format!("In the simplest loop {} locked instruction", number(here.round())),
        },
        says: "Locked instructions of a loop, counted by a plugin of QEMU's on CPUs that run at once, with strokes from the \
            least to the greatest of the rounds."
            .into(),
        ..figure(&rows, table, "locked instructions a loop")
    })
}

pub(super) fn lines(data: &Data) -> Option<Figure> {
    let (rows, table, simplest) = parts(data, "cache lines moved a loop")?;
    Some(Figure {
        id: "lines",
        title: match simplest {
            (here, Some(linux)) if here < LEAST => {
                format!("The simplest loop moves no cache line, where Linux moves {}", number(linux.round()))
            }
            (here, None) if here < LEAST => "The simplest loop moves no cache line".into(),
            _ => "Cache lines that move between CPUs".into(),
        },
        says: "Cache lines that another CPU had, a loop. Below a tenth of a line it is the noise of two runs whose \
            difference is told."
            .into(),
        ..figure(&rows, table, "cache lines moved a loop")
    })
}

fn figure(rows: &[Row], table: Table, unit: &'static str) -> Figure {
    let values = rows.iter().flat_map(|row| row.dots.iter().map(|dot| dot.value));
    let scale = Scale::log(values.filter(|value| *value >= LEAST));
    let four = Key { sign: Sign::Ring, ..key(HERE, "on 4 CPUs, not 2") };
    Figure {
        id: "",
        title: String::new(),
        says: String::new(),
        command: "./run.sh bench shared --linux".into(),
        legend: vec![OURS, LINUXS, four],
        drawing: dots::draw(rows, &scale, unit, "Linux / this"),
        table,
    }
}

/// The first case's numbers, here and on Linux.
type Simplest = (f64, Option<f64>);

/// Rows, and a table of them.
fn parts(data: &Data, unit: &str) -> Option<(Vec<Row>, Table, Simplest)> {
    let heads = vec!["case", "CPUs", "this library", "least – greatest", "Linux", "least – greatest"];
    let (mut rows, mut table): (Vec<Row>, _) = (Vec::new(), Table { heads, rows: Vec::new() });
    let mut simplest = None;
    for (figure, value) in data.measured(Part::Shared, System::Here).filter(|(figure, _)| figure.unit == unit)
    {
        let (cpus, name) = (figure.conditions.cpus, name(&figure.subject));
        let linux = data.figures.beside(figure, System::Linux);
        let beside = linux.and_then(|linux| linux.outcome.value());
        let linuxs_range = linux.and_then(|linux| linux.range);
        simplest.get_or_insert((value, beside));
        let linuxs = beside.map(|value| Dot { value, range: linuxs_range, colour: LINUX, full: cpus == 2 });
        let here = Dot { value, range: figure.range, colour: HERE, full: cpus == 2 };
        let dots = linuxs.into_iter().chain([here]);
        match rows.iter_mut().find(|row| row.name == name) {
            // Behind the others.
            Some(row) => row.dots.splice(0..0, dots).for_each(drop),
            None => {
                let note = beside.filter(|_| value >= LEAST).map(|linux| times(linux / value));
                let (dots, note) = (dots.collect(), note.unwrap_or_default());
                rows.push(Row { name: name.clone(), dots, strokes: Vec::new(), note });
            }
        }
        table.rows.push(vec![
            Cell::text(name),
            Cell::text(cpus.to_string()),
            Cell::drawn(Some(value)),
            Cell::range(figure.range),
            Cell::drawn(beside),
            Cell::range(linuxs_range),
        ]);
    }
    Some((rows, table, simplest?))
}
