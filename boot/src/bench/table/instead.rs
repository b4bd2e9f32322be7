//! The table of this kernel's library beside what stands in its place.

use std::fmt::Write as _;

use super::super::figure::{Figure, Figures, Part, System};
use super::super::timed::{FLUSHES, INTERRUPTS};
use super::{aligned, joined, ran_on, ratio, recorded, title};

/// All that a row may be of, in the order of rows.
const SYSTEMS: [System; 4] = [System::Here, System::FreeList, System::Vmem, System::Linux];

/// What the rows are.
const ROWS: &str = "here: the vmalloc library. free-list, vmem: addresses by this crate, mapped page by page by \
    x86_64's OffsetPageTable,\nwith this kernel's frames; unmapped, flushed on every CPU and given back at once. A guard \
    page follows each area.\nCase 4 runs among 15000 areas, case 2 among 8192 and as many holes. A ratio is the number \
    here to the one before it.\n";

/// The table; empty if nothing was counted.
pub fn table(figures: &Figures) -> String {
    let of = |system| figures.of(Part::Instead, system);
    let counted: Vec<&Figure> = of(System::Here).filter(|figure| is_instructions(figure)).collect();
    let Some(&first) = counted.first() else { return String::new() };
    let mut text = format!(
        "Instructions a loop: the difference of {} loops. {}.\n",
        joined(&first.loops),
        ran_on(first)
    );
    if let Some(flushes) = of(System::Here).find(|figure| figure.unit == FLUSHES) {
        let _ = writeln!(text, "Interrupts and flushes: a million loops of 2 workers. {}.", ran_on(flushes));
    }
    if let Some(linux) = of(System::Linux).next() {
        let _ = writeln!(text, "Linux: {}{}.", ran_on(linux), recorded(linux));
    }
    text += ROWS;
    let titles = ["case", "", "", "instructions", "ratio", "interrupts", "flushes"];
    let mut table = vec![titles.map(str::to_owned).to_vec()];
    for here in counted {
        for system in SYSTEMS {
            let figure = |wanted: &dyn Fn(&Figure) -> bool| {
                of(system).find(|figure| figure.subject == here.subject && wanted(figure))
            };
            let Some(instructions) = figure(&is_instructions) else { continue };
            let ratio = match system {
                System::Here => None,
                _ => ratio(here, instructions).map(|ratio| format!("{ratio:.3}")),
            };
            let shown = |unit: &str| {
                figure(&|figure| figure.unit == unit).map_or(String::new(), |figure| figure.outcome.shown())
            };
            table.push(vec![
                here.subject.case.to_string(),
                here.subject.to_string(),
                title(system).to_owned(),
                instructions.outcome.shown(),
                ratio.unwrap_or_default(),
                shown(INTERRUPTS),
                shown(FLUSHES),
            ]);
        }
    }
    text + &aligned(&table, 3)
}

fn is_instructions(figure: &Figure) -> bool {
    figure.unit == figure.subject.unit()
}

#[cfg(test)]
mod tests {
    use super::super::tests::figure;
    use super::*;

    /// Seen failing with the ratio the other way round.
    #[test]
    fn a_row_for_each_system_and_what_it_has() {
        let unit = "instructions a loop";
        let all = Figures(vec![
            figure(Part::Instead, System::Here, 1, 1, unit, 130.0),
            figure(Part::Instead, System::FreeList, 1, 1, unit, 1300.0),
            figure(Part::Instead, System::Linux, 1, 1, unit, 2600.0),
            figure(Part::Instead, System::Here, 1, 2, FLUSHES, 0.0),
            figure(Part::Instead, System::FreeList, 1, 2, INTERRUPTS, 1e6),
            figure(Part::Instead, System::FreeList, 1, 2, FLUSHES, 2e6),
        ]);
        let text = table(&all);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .filter(|line| line.starts_with("1 "))
            .map(|line| line.split_whitespace().skip(2).collect())
            .collect();
        assert_eq!(
            rows,
            [
                &["here", "130", "0"][..],
                &["free-list", "1300", "0.100", "1000000", "2000000"],
                &["Linux", "2600", "0.050"],
            ],
            "{text}"
        );
        assert!(text.contains("RECORDED") && text.contains("2 CPUs"), "{text}");
        assert_eq!(table(&Figures::default()), "");
    }
}
