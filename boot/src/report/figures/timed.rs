//! Throughput by CPUs, with the spread of the rounds.

use crate::bench::figure::{Part, System};
use crate::bench::timed::RATE;
use crate::report::data::Data;
use crate::report::draw::lines::{self, Layout, Line, Panel, Point};
use crate::report::draw::{HERE, LINUX, Scale};
use crate::report::figure::{Cell, Figure, Table, from_to, number, times};

use super::name;

pub(super) fn figure(data: &Data) -> Option<Figure> {
    let source = data.sources.iter().find(|source| source.parts.contains(&Part::Timed));
    let computer = source.and_then(|source| source.computer_cpus);
    let of = |system| data.measured(Part::Timed, system).filter(|(figure, _)| figure.unit == RATE);
    let mut cases: Vec<u64> = of(System::Here).map(|(figure, _)| figure.subject.case).collect();
    cases.dedup();
    cases.sort_unstable();
    cases.dedup();
    let heads =
        vec!["case", "CPUs", "this library", "least – greatest", "Linux", "least – greatest", "this / Linux"];
    let (mut panels, mut table) = (Vec::new(), Table { heads, rows: Vec::new() });
    let (mut ratios, mut cpus) = (Vec::new(), Vec::new());
    for case in cases {
        let of_case = |system| of(system).filter(move |(figure, _)| figure.subject.case == case);
        let lines =
            [(System::Linux, "Linux", LINUX), (System::Here, "this", HERE)].map(|(system, name, colour)| {
                let points = of_case(system).map(|(figure, y)| Point {
                    x: figure.conditions.cpus.into(),
                    y,
                    range: figure.range,
                });
                Line { name, colour, points: points.collect(), dots: true }
            });
        let mut title = String::new();
        for (figure, value) in of_case(System::Here) {
            title = name(&figure.subject);
            let linux = data.figures.beside(figure, System::Linux);
            let beside = linux.and_then(|linux| linux.outcome.value());
            cpus.push(f64::from(figure.conditions.cpus));
            if computer.is_none_or(|there| usize::from(figure.conditions.cpus) <= there) {
                ratios.extend(beside.map(|linux| value / linux));
            }
            table.rows.push(vec![
                Cell::text(title.clone()),
                Cell::text(figure.conditions.cpus.to_string()),
                Cell::drawn(Some(value)),
                Cell::range(figure.range),
                Cell::drawn(beside),
                Cell::range(linux.and_then(|linux| linux.range)),
                Cell::text(beside.map_or("–".into(), |linux| times(value / linux))),
            ]);
        }
        let lines = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
        panels.push(Panel { title, lines });
    }
    cpus.sort_by(f64::total_cmp);
    cpus.dedup();
    let values = panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let (x, y) = (Scale::log_at(&cpus), Scale::log(values.map(|point| point.y)));
    let title = match ratios.is_empty() {
        true => "Loops a second, by CPUs".to_owned(),
        false => format!("{} times Linux's loops a second, on as many CPUs as there are", from_to(ratios)),
    };
    let computer = computer.map_or(String::new(), |cpus| {
        format!(" The computer has {}: more emulated CPUs take turns.", number(cpus as f64))
    });
    let layout = Layout { columns: (3, 2), height: 150, below: "CPUs", above: "loops a second", names: 52 };
    (!panels.is_empty()).then(|| Figure {
        id: "timed",
        title,
        says: format!(
            "Loops a second of all CPUs together, a worker on each; the median of the rounds, and upright strokes from \
             the slowest to the fastest where the file has them.{computer}"
        ),
        command: "./run.sh bench timed --linux".into(),
        legend: Vec::new(),
        drawing: lines::draw(&panels, &x, &y, &layout),
        table,
    })
}
