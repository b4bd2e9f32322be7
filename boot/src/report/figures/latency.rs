//! How late threads are woken.

use crate::report::data::Data;
use crate::report::draw::HERE;
use crate::report::draw::bars::{self, Bar};
use crate::report::figure::{Cell, Figure, Table, number};

pub(super) fn figure(data: &Data) -> Option<Figure> {
    let experiment = data.latency.as_ref()?;
    let latency = experiment.rows().first()?;
    let mut table = Table { heads: vec!["microseconds late", "wake-ups"], rows: Vec::new() };
    let mut bars = Vec::new();
    for bucket in &latency.histogram {
        let (count, name) = (bucket.count as f64, format!("{}–{}", bucket.from, bucket.to));
        let drawn = Some(count).filter(|count| *count > 0.0);
        table.rows.push(vec![Cell::text(name), Cell::drawn(drawn)]);
        let name = bucket.from.to_string();
        bars.push(Bar { name, value: count, text: number(count), colour: HERE });
    }
    let end = latency.histogram.last().map_or(String::new(), |bucket| bucket.to.to_string());
    let most = |of: fn(&crate::bench::experiments::latency::Delays) -> f64| {
        latency.delays.iter().map(of).fold(0.0, f64::max)
    };
    let all: u64 = latency.delays.iter().map(|delays| delays.wake_ups).sum();
    Some(Figure {
        id: "latency",
        title: format!(
            "Of {} wake-ups under load none came later than {} µs",
            number(all as f64),
            number(most(|delays| delays.greatest).ceil())
        ),
        says: format!(
            "How late a thread of the highest class is woken, each millisecond, while others allocate and free. Half come \
             within {} µs, all but one of a thousand within {} µs. An instruction takes 4 ns on this machine.",
            number(most(|delays| delays.median)),
            number(most(|delays| delays.thousandth)),
        ),
        command: format!("./run.sh exec '{}' --icount=2", experiment.command),
        legend: Vec::new(),
        drawing: bars::upright(&bars, &end, "microseconds late", "wake-ups"),
        table,
    })
}
