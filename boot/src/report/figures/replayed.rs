//! A replayed trace: the map of the address space, and the purges and flushes of each CPU.

use plotters::style::RGBColor;

use crate::bench::experiments::replayed::{ALL, Recording, Replayed, Sample};
use crate::report::data::Data;
use crate::report::draw::map;
use crate::report::draw::timeline::{self, Bar, Strip};
use crate::report::draw::{FLOOR, FREE, FREE_LIST, HERE, LINUX, PARKED, Scale, VMEM};
use crate::report::figure::{Cell, Figure, Key, Table, key, number};

/// Pages of a block.
const PAGES: f64 = 512.0;
/// Rows of the map, at the most.
const ROWS: u64 = 40;
/// Bars of a strip, at the most.
const BARS: u64 = 160;

/// The states of pages, from the bottom of a row upwards: those of a sample's blocks in their order, but for the first two
/// numbers.
const STATES: [Key; 6] = [
    key(HERE, "live"),
    key(PARKED, "parked, for the CPU's next area"),
    key(LINUX, "dirty: waits for a flush"),
    key(VMEM, "flushing"),
    key(FREE_LIST, "cached: free, with a frame"),
    key(FLOOR, "guard page, or unused end of a run"),
];
/// The rest.
const REST: Key = key(FREE, "free");
/// Numbers of a block before those of states.
const BEFORE: usize = 2;

const PURGES: Key = key(HERE, "part of the time in a purge");
const FLUSHES: Key = key(LINUX, "flushes of everything");
const PAGE_FLUSHES: Key = key(VMEM, "flushes of pages");

/// What the pages of all blocks are: one number for each state.
fn sums(sample: &Sample) -> [u64; STATES.len()] {
    std::array::from_fn(|state| sample.blocks.iter().map(|block| block[BEFORE + state]).sum())
}

fn command(replayed: &Replayed) -> String {
    let times = if replayed.loops == 1 { String::new() } else { format!(" --loop {}", replayed.loops) };
    format!("./run.sh replay {}{times} --report FILE.html", replayed.trace)
}

/// The trace's file, without its folder.
fn name(replayed: &Replayed) -> &str {
    replayed.trace.rsplit('/').next().unwrap_or(&replayed.trace)
}

pub(super) fn map(data: &Data) -> Option<Figure> {
    let replayed = data.replayed.as_ref()?;
    let samples = &replayed.recording.samples;
    let last = samples.last()?;
    let blocks = samples.iter().flat_map(|sample| &sample.blocks).map(|block| block[0] + block[1]).max()?;
    let group = blocks.div_ceil(ROWS);
    let rows: Vec<map::Row> =
        (0..blocks.div_ceil(group)).map(|row| one_row(samples, row * group, group)).collect();
    let places: Vec<f64> = samples.iter().map(|sample| sample.calls as f64).collect();
    let end = last.calls as f64;
    let peak = samples.iter().max_by_key(|sample| sums(sample)[0])?;
    let in_use = peak.blocks.iter().map(|block| block[1]).sum::<u64>();
    let cells = |sample: &Sample| {
        let counts = [vec![sample.calls], sums(sample).to_vec()].concat();
        counts.into_iter().map(|count| Cell::text(number(count as f64))).collect()
    };
    let shown = samples.iter().step_by(samples.len().div_ceil(16)).chain([last]);
    let colours: Vec<RGBColor> = STATES.iter().map(|state| state.colour).collect();
    Some(Figure {
        id: "address-map",
        title: format!(
            "At the most {} pages are live; {} of address space hold them, with all that waits and is cached",
            number(sums(peak)[0] as f64),
            mebibytes(in_use)
        ),
        says: format!(
            "What the pages of each {} are while the {} calls of {} are made again: the state of its pages from the bottom \
             upwards, the first call on the left, the last on the right.",
            if group == 1 { "block of 2 MiB".into() } else { format!("{group} blocks of 2 MiB") },
            number(last.calls as f64),
            name(replayed),
        ),
        command: command(replayed),
        legend: STATES.into_iter().chain([REST]).collect(),
        drawing: map::draw(
            &rows,
            &colours,
            &Scale::linear([end]).up_to(end),
            &places,
            "block",
            "calls that were made",
        ),
        table: Table {
            heads: vec!["calls", "live", "parked", "dirty", "flushing", "cached", "guard"],
            rows: shown.map(cells).collect(),
        },
    })
}

fn mebibytes(blocks: u64) -> String {
    format!("{} MiB", number(2.0 * blocks as f64))
}

/// The blocks from `first` on, as many as a group has.
fn one_row(samples: &[Sample], first: u64, group: u64) -> map::Row {
    let end = first + group;
    let shares_of = |sample: &Sample| {
        let mut shares = vec![0.0; STATES.len()];
        for block in &sample.blocks {
            // A freed run is told of as one.
            let here = end.min(block[0] + block[1]).saturating_sub(first.max(block[0]));
            let part = here as f64 / block[1].max(1) as f64;
            for (share, pages) in shares.iter_mut().zip(&block[BEFORE..]) {
                *share += *pages as f64 * part / PAGES / group as f64;
            }
        }
        shares
    };
    let shares: Vec<Vec<f64>> = samples.iter().map(shares_of).collect();
    let most = |state: usize| {
        let most = shares.iter().map(|shares| shares[state]).fold(0.0, f64::max);
        number((most * PAGES * group as f64).round())
    };
    map::Row {
        name: if group == 1 { number(first as f64) } else { format!("{first}–{}", end - 1) },
        title: format!("at the most {} pages live, {} dirty, {} cached", most(0), most(2), most(4)),
        shares,
    }
}

pub(super) fn timeline(data: &Data) -> Option<Figure> {
    let replayed = data.replayed.as_ref()?;
    let Recording { samples, purges, flushes } = &replayed.recording;
    let end = samples.last()?.time.max(1);
    let cpus = (0..replayed.cpus).collect::<Vec<_>>();
    let width = end.div_ceil(BARS);
    let bins = end.div_ceil(width);
    let flushed = |cpu: u64, bin: u64| {
        let here = flushes.iter().filter(move |[on, at, _]| *on == cpu && *at / width == bin);
        let all = here.clone().filter(|[_, _, pages]| *pages == ALL).count();
        (all, here.count() - all)
    };
    let count = |cpu, bin| flushed(cpu, bin).0 + flushed(cpu, bin).1;
    let most = cpus.iter().flat_map(|&cpu| (0..bins).map(move |bin| count(cpu, bin))).max()?.max(1);
    let strips = cpus.iter().flat_map(|&cpu| {
        let purging = (0..bins).filter_map(|bin| {
            let overlap = |[on, at, took, _]: &[u64; 4]| {
                let inside = (at + took).min((bin + 1) * width).saturating_sub((*at).max(bin * width));
                // What took no time that is measured was there all the same.
                let is_here = *on == cpu && (inside > 0 || at / width == bin);
                is_here.then_some(inside)
            };
            let inside: Vec<u64> = purges.iter().filter_map(overlap).collect();
            let part = inside.iter().sum::<u64>() as f64 / width as f64;
            let title =
                format!("{}: {} purges, {:.0} % of the time", span(bin, width), inside.len(), part * 100.0);
            let parts = vec![(part.clamp(0.02, 1.0), PURGES.colour)];
            (!inside.is_empty()).then(|| bar(bin, width, parts, title))
        });
        let flushing = (0..bins).filter_map(|bin| {
            let (all, pages) = flushed(cpu, bin);
            let title = format!("{}: {all} flushes of everything, {pages} of pages", span(bin, width));
            let part = |count: usize| count as f64 / most as f64;
            let parts = vec![(part(all), FLUSHES.colour), (part(pages), PAGE_FLUSHES.colour)];
            (all + pages > 0).then(|| bar(bin, width, parts, title))
        });
        [
            Strip { name: format!("CPU {cpu}: purging"), bars: purging.collect() },
            Strip { name: format!("CPU {cpu}: flushes"), bars: flushing.collect() },
        ]
    });
    let strips: Vec<Strip> = strips.collect();
    let longest = purges.iter().map(|[_, _, took, _]| *took).max().unwrap_or(0);
    let cells = |&cpu: &u64| {
        let own = || purges.iter().filter(move |[on, ..]| *on == cpu);
        let all = flushes.iter().filter(|[on, _, pages]| *on == cpu && *pages == ALL).count();
        let total = flushes.iter().filter(|[on, ..]| *on == cpu).count();
        let counts = [
            own().count() as u64,
            own().map(|[_, _, _, pages]| pages).sum(),
            own().map(|[_, _, took, _]| *took).max().unwrap_or(0),
            all as u64,
            (total - all) as u64,
        ];
        let counts = counts.map(|count| Cell::text(number(count as f64)));
        [vec![Cell::text(format!("CPU {cpu}"))], counts.to_vec()].concat()
    };
    let milliseconds = end as f64 / 1000.0;
    Some(Figure {
        id: "purge-timeline",
        title: format!(
            "{} purges take {} flushes; the longest takes {} ms",
            number(purges.len() as f64),
            number(flushes.len() as f64),
            number(longest as f64 / 1000.0)
        ),
        says: format!(
            "When each CPU purges and has others flush while the calls of {} are made again: for each {} ms the part of the \
             time in which a purge was under way that the CPU began, and how many flushes it asked for, {} at the most. A \
             purge that finds nothing dirty flushes nothing.",
            name(replayed),
            number(width as f64 / 1000.0),
            most
        ),
        command: command(replayed),
        legend: vec![PURGES, FLUSHES, PAGE_FLUSHES],
        drawing: timeline::draw(&strips, &Scale::linear([milliseconds]).up_to(milliseconds), "milliseconds"),
        table: Table {
            heads: vec!["", "purges", "pages", "longest, µs", "flushes of everything", "of pages"],
            rows: cpus.iter().map(cells).collect(),
        },
    })
}

fn bar(bin: u64, width: u64, parts: Vec<(f64, RGBColor)>, title: String) -> Bar {
    let [from, to] = [bin, bin + 1].map(|bin| (bin * width) as f64 / 1000.0);
    Bar { from, to, parts, title }
}

fn span(bin: u64, width: u64) -> String {
    let [from, to] = [bin, bin + 1].map(|bin| number((bin * width) as f64 / 1000.0));
    format!("{from} to {to} ms")
}
