//! The experiments: what went wrong elsewhere once, beside what is done here.

use crate::bench::experiments::history::{Filled, Freed, History, Pile, Purged, Race};
use crate::report::data::Data;
use crate::report::draw::bars::{self, Bar};
use crate::report::draw::dots::{self, Dot, Row};
use crate::report::draw::lines::{self, Layout, Line, Panel, Point};
use crate::report::draw::{HERE, LINUX, Scale};
use crate::report::figure::{Cell, Figure, Key, Table, from_to, key, number};

/// What was done elsewhere has the colour that Linux has in other figures.
const OLD: Key = key(LINUX, "as it was elsewhere");
/// What is done here.
const NEW: Key = key(HERE, "as it is here");

/// Microseconds of the purges that are drawn.
const WINDOW: u64 = 100_000;

pub(super) fn figures(data: &Data) -> Vec<Option<Figure>> {
    let Some(history) = &data.history else { return Vec::new() };
    let History { area_cache, overflow_race, vmap_exhaust, purge_latency, pagetable_free } = history;
    vec![
        piles(area_cache.rows()),
        races(overflow_race.rows()),
        filled(vmap_exhaust.rows()),
        purged(purge_latency.rows(), &purge_latency.command),
        freed(pagetable_free.rows()),
    ]
}

/// The last row is what is done here.
fn colour(index: usize, count: usize) -> Key {
    if index + 1 == count { NEW } else { OLD }
}

fn piles(rows: &[Pile]) -> Option<Figure> {
    let last = rows.last()?;
    let points = |of: fn(&Pile) -> f64| {
        rows.iter().map(move |row| Point { x: row.pile as f64, y: of(row), range: None }).collect()
    };
    let line = |name, key: Key, points| Line { name, colour: key.colour, points, dots: true };
    let lines = vec![
        line("from the start", OLD, points(|row| row.steps_from_start)),
        line("cached start", NEW, points(|row| row.steps_cached)),
    ];
    let heads = vec!["lazily freed areas", "from the start", "instructions", "cached start", "instructions"];
    let cells = |row: &Pile| {
        vec![
            Cell::text(number(row.pile as f64)),
            Cell::drawn(Some(row.steps_from_start)),
            Cell::text(number(row.instructions_from_start)),
            Cell::drawn(Some(row.steps_cached)),
            Cell::text(number(row.instructions_cached)),
        ]
    };
    let steps = |row: &Pile| row.steps_from_start.max(row.steps_cached);
    let layout = Layout {
        columns: (1, 1),
        height: 210,
        below: "areas that were freed lazily and wait",
        above: "steps of a search",
        names: 110,
    };
    let x = Scale::log_at(&rows.iter().map(|row| row.pile as f64).collect::<Vec<_>>());
    let panel = Panel { title: String::new(), lines };
    Some(Figure {
        id: "area-cache",
        title: format!(
            "A search that starts where the last one ended takes {} step, not {}, among {} freed areas",
            number(last.steps_cached),
            number(last.steps_from_start.round()),
            number(last.pile as f64)
        ),
        says: "Steps of the search for address space while lazily freed areas pile up: the thread of 2010. Both find the \
            same places."
            .into(),
        command: "./run.sh exec 'history area-cache' --icount".into(),
        legend: Vec::new(),
        drawing: lines::draw(&[panel], &x, &Scale::linear(rows.iter().map(steps)), &layout),
        table: Table { heads, rows: rows.iter().map(cells).collect() },
    })
}

fn races(rows: &[Race]) -> Option<Figure> {
    let (first, last) = (rows.first()?, rows.last()?);
    let names = ["one purge, no waiting", "a ticket, as here"];
    let bar = |(index, row): (usize, &Race)| Bar {
        name: names.get(index).map_or(row.rule.clone(), |name| (*name).to_owned()),
        value: row.failures as f64,
        text: number(row.failures as f64),
        colour: colour(index, rows.len()).colour,
    };
    let cells = |row: &Race| {
        let mut cells = vec![Cell::text(row.rule.clone())];
        cells.extend([row.allocations, row.overflows].map(|count| Cell::text(number(count as f64))));
        cells.push(Cell::drawn(Some(row.failures as f64)));
        cells
    };
    Some(Figure {
        id: "overflow-race",
        title: format!(
            "Waiting for the purge that runs: {} allocations fail though there is room, not {}",
            if last.failures == 0 { "no".into() } else { number(last.failures as f64) },
            number(first.failures as f64)
        ),
        says: "Failed allocations while threads fill a small range and free at random, until 100 000 have found it full: \
            the threads of 2016 and 2019."
            .into(),
        command: "./run.sh exec 'history overflow-race' --cpus 2".into(),
        legend: Vec::new(),
        drawing: bars::level(&rows.iter().enumerate().map(bar).collect::<Vec<_>>(), "allocations that failed"),
        table: Table {
            heads: vec!["rule", "allocations", "found no room at first", "failed"],
            rows: rows.iter().map(cells).collect(),
        },
    })
}

fn filled(rows: &[Filled]) -> Option<Figure> {
    let [guarded, packed, ..] = rows else { return None };
    let bar = |(index, row): (usize, &Filled)| Bar {
        name: if index == 0 { "a guard page per block".into() } else { "packed".into() },
        value: row.mapped as f64,
        text: number(row.mapped as f64),
        colour: colour(index, 2).colour,
    };
    let cells = |(index, row): (usize, &Filled)| {
        let mapped = row.mapped as f64;
        let mapped = if index < 2 { Cell::drawn(Some(mapped)) } else { Cell::text(number(mapped)) };
        let others = [row.right, row.again].map(|count| Cell::text(number(count as f64)));
        [vec![Cell::text(row.guards.clone()), mapped], others.to_vec()].concat()
    };
    Some(Figure {
        id: "vmap-exhaust",
        title: format!(
            "Without guard pages between blocks, {} times as many pages fit",
            from_to([packed.mapped as f64 / guarded.mapped as f64])
        ),
        says:
            "Single pages mapped by vm_map_ram until 120 MiB of address space are full: the thread of 2011."
                .into(),
        command: "./run.sh exec 'history vmap-exhaust'".into(),
        legend: Vec::new(),
        drawing: bars::level(
            &rows.iter().take(2).enumerate().map(bar).collect::<Vec<_>>(),
            "pages mapped when the range is full",
        ),
        table: Table {
            heads: vec!["guard pages", "mapped", "read right", "mapped again"],
            rows: rows.iter().enumerate().map(cells).collect(),
        },
    })
}

fn purged(rows: &[Purged], command: &str) -> Option<Figure> {
    let [rest @ .., yielding, threshold] = rows else { return None };
    let panel = |(index, row): (usize, &Purged)| {
        let samples = row.samples.iter().filter(|(at, _)| *at <= WINDOW);
        let points = samples.map(|&(at, pages)| Point {
            x: at as f64 / 1000.0,
            y: pages as f64 / row.lazy_max as f64,
            range: None,
        });
        let key = colour(index, rows.len());
        let line = Line { name: "", colour: key.colour, points: points.collect(), dots: false };
        Panel { title: row.policy.clone(), lines: vec![line] }
    };
    let panels: Vec<Panel> = rows.iter().enumerate().map(panel).collect();
    let cells = |row: &Purged| {
        vec![
            Cell::text(row.policy.clone()),
            Cell::text(format!("{}{}", number(row.peak), if row.ran_away { ", ended" } else { "" })),
            Cell::text(number(row.purges as f64)),
            Cell::text(number(row.longest as f64)),
        ]
    };
    let layout = Layout {
        columns: (3, 1),
        height: 200,
        below: "milliseconds",
        above: "pages that wait for a flush, in multiples of lazy_max",
        names: 0,
    };
    let end = panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let end = end.map(|point| point.x).fold(1.0, f64::max);
    let x = Scale::linear([end]).up_to(end);
    let y = Scale::linear(rows.iter().map(|row| row.peak));
    Some(Figure {
        id: "purge-latency",
        title: format!(
            "A purge that yields below twice the limit keeps up: {} times it at most; {}",
            number(threshold.peak),
            match rest {
                [Purged { ran_away: true, .. }] => "the others run away",
                _ => "one that always yields runs away",
            }
        ),
        says: format!(
            "Pages that wait for a flush while CPUs allocate and free and a thread purges, for three rules of when it lets \
             others run: the threads of 2016 and 2019. At {} times lazy_max, {} pages, an experiment is ended.",
            number(yielding.peak),
            number(yielding.lazy_max as f64 * yielding.peak),
        ),
        command: format!("./run.sh exec '{command}' --cpus 2"),
        legend: vec![OLD, NEW],
        drawing: lines::draw(&panels, &x, &y, &layout),
        table: Table {
            heads: vec!["the purge", "peak / lazy_max", "purges", "longest with preemption off, µs"],
            rows: rows.iter().map(cells).collect(),
        },
    })
}

fn freed(rows: &[Freed]) -> Option<Figure> {
    let (all, rest) = rows.split_first()?;
    let dot = |(index, row): (usize, &Freed)| Row {
        name: row.pieces.clone(),
        dots: vec![Dot {
            value: row.instructions,
            range: None,
            colour: if index == 0 { OLD.colour } else { NEW.colour },
            full: true,
        }],
        strokes: Vec::new(),
        note: number(row.flushes as f64),
    };
    let cells = |row: &Freed| {
        let counts = [row.tables, row.flushes].map(|count| Cell::text(number(count as f64)));
        [vec![Cell::text(row.pieces.clone()), Cell::drawn(Some(row.instructions))], counts.to_vec()].concat()
    };
    let longest = rest.iter().map(|row| row.instructions).fold(1.0, f64::max);
    let scale = Scale::log(rows.iter().map(|row| row.instructions));
    Some(Figure {
        id: "pagetable-free",
        title: format!(
            "Freed piece by piece, {} page tables hold up a CPU for a {}th of the time",
            number(all.tables as f64),
            number((all.instructions / longest).floor())
        ),
        says: "Instructions of the longest section with preemption off while the page tables of 48 GiB are freed, and at \
            the end of a row the flushes that it took: the thread of 2007."
            .into(),
        command: "./run.sh exec 'history pagetable-free' --icount --memory 2G".into(),
        legend: vec![OLD, NEW],
        drawing: dots::draw(&rows.iter().enumerate().map(dot).collect::<Vec<_>>(), &scale, "instructions", "flushes"),
        table: Table {
            heads: vec!["page tables freed", "longest section", "tables", "flushes"],
            rows: rows.iter().map(cells).collect(),
        },
    })
}
