//! Costs by the size of an area, and by how many others are live.

use crate::bench::cases::{FIX_SIZE, VM_MAP_RAM};
use crate::bench::figure::{Part, System};
use crate::report::data::Data;
use crate::report::draw::lines::{self, Layout, Line, Panel, Point};
use crate::report::draw::{FLOOR, HERE, LINUX, Scale};
use crate::report::figure::{Cell, Figure, Table, from_to, number};

/// What is drawn of each system, the most important last.
const SYSTEMS: [(System, &str, plotters::style::RGBColor); 3] =
    [(System::Linux, "Linux", LINUX), (System::Floor, "floor", FLOOR), (System::Here, "this library", HERE)];

pub(super) fn by_size(data: &Data) -> Option<Figure> {
    let mut panels = Vec::new();
    let mut table =
        Table { heads: vec!["case", "pages", "this library", "Linux", "floor"], rows: Vec::new() };
    let (mut over_floor, mut under_linux) = (Vec::new(), Vec::new());
    for (case, title) in [(FIX_SIZE, "vmalloc and vfree"), (VM_MAP_RAM, "vm_map_ram and vm_unmap_ram")] {
        let of_case = |system| {
            data.measured(Part::Sizes, system).filter(move |(figure, _)| figure.subject.case == case)
        };
        let lines = SYSTEMS.map(|(system, name, colour)| {
            let points = of_case(system).map(|(figure, y)| Point {
                x: figure.subject.nr_pages as f64,
                y,
                range: None,
            });
            Line { name, colour, points: points.collect(), dots: true }
        });
        for (figure, value) in of_case(System::Here) {
            let beside = [System::Linux, System::Floor].map(|system| data.beside(figure, system));
            let mut cells = vec![Cell::text(title), Cell::text(number(figure.subject.nr_pages as f64))];
            cells.extend([Some(value)].into_iter().chain(beside).map(Cell::drawn));
            table.rows.push(cells);
        }
        if let Some((largest, value)) =
            of_case(System::Here).max_by_key(|(figure, _)| figure.subject.nr_pages)
        {
            over_floor.extend(data.beside(largest, System::Floor).map(|floor| value / floor));
            under_linux.extend(data.beside(largest, System::Linux).map(|linux| linux / value));
        }
        let lines: Vec<Line> = lines.into_iter().filter(|line| !line.points.is_empty()).collect();
        if !lines.is_empty() {
            panels.push(Panel { title: title.into(), lines });
        }
    }
    let points = || panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let mut sizes: Vec<f64> = points().map(|point| point.x).collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    let (x, y) = (Scale::log_at(&sizes), Scale::log(points().map(|point| point.y)));
    let title = match (over_floor.is_empty(), under_linux.is_empty()) {
        (false, false) => format!(
            "The largest areas cost {} times the least work there is; Linux takes {} times as much as this",
            from_to(over_floor),
            from_to(under_linux)
        ),
        _ => "What areas cost, by their size".into(),
    };
    let layout = Layout {
        columns: (2, 1),
        height: 250,
        below: "pages of an area",
        above: "instructions a loop",
        names: 92,
    };
    (!panels.is_empty()).then(|| Figure {
        id: "sizes",
        title,
        says: "Instructions to make an area and free it, by its pages. The floor writes the page table entries, takes and \
            gives the frames, and does nothing else."
            .into(),
        command: "./run.sh bench sizes --linux".into(),
        legend: Vec::new(),
        drawing: lines::draw(&panels, &x, &y, &layout),
        table,
    })
}

pub(super) fn by_live_areas(data: &Data) -> Option<Figure> {
    let mut table = Table { heads: vec!["live areas", "instructions a loop"], rows: Vec::new() };
    let mut points = Vec::new();
    for (figure, y) in data.measured(Part::Live, System::Here) {
        let x = figure.subject.live_areas as f64;
        points.push(Point { x, y, range: None });
        table.rows.push(vec![Cell::text(number(x)), Cell::drawn(Some(y))]);
    }
    let (first, last) = (points.first()?, points.last()?);
    let title = format!(
        "Live areas cost nothing: {} instructions among {} of them, {} among {}",
        number(first.y.round()),
        number(first.x),
        number(last.y.round()),
        number(last.x)
    );
    let x = Scale::log_at(&points.iter().map(|point| point.x).collect::<Vec<_>>());
    let y = Scale::linear(points.iter().map(|point| point.y));
    let line = Line { name: "this library", colour: HERE, points, dots: true };
    let layout = Layout {
        columns: (1, 1),
        height: 150,
        below: "areas of a page that are held meanwhile",
        above: "instructions a loop",
        names: 92,
    };
    let panel = Panel { title: "vmalloc and vfree of a page".into(), lines: vec![line] };
    Some(Figure {
        id: "live",
        title,
        says: "Instructions to make an area of a page and free it, while many others are live.".into(),
        command: "./run.sh bench live".into(),
        legend: Vec::new(),
        drawing: lines::draw(&[panel], &x, &y, &layout),
        table,
    })
}
