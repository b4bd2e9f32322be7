//! The figures, in the order that they stand in on the page. Each module makes those of a part of the benchmark suite,
//! and none where there are no numbers.

mod cases;
mod history;
mod instead;
mod latency;
mod replayed;
mod shared;
mod sizes;
mod timed;

use super::data::Data;
use super::draw::{FLOOR, FREE_LIST, HERE, LINUX, VMEM};
use super::figure::{Figure, Key, key};
use crate::bench::cases::Subject;

/// This library.
const OURS: Key = key(HERE, "this library");
/// Linux.
const LINUXS: Key = key(LINUX, "Linux");
/// The floor.
const FLOORS: Key = key(FLOOR, "floor: page table entries only");
/// The crate `free-list`.
const FREE_LISTS: Key = key(FREE_LIST, "by free-list");
/// The crate `vmem`.
const VMEMS: Key = key(VMEM, "by vmem");

/// A group of figures.
#[derive(Debug)]
pub struct Chapter {
    /// What its figures are about.
    pub title: &'static str,
    /// Its figures.
    pub figures: Vec<Figure>,
}

/// All figures for which there are numbers.
#[must_use]
pub fn all(data: &Data) -> Vec<Chapter> {
    let chapters = [
        ("Cost", vec![cases::figure(data), sizes::by_size(data), sizes::by_live_areas(data)]),
        ("Many CPUs", vec![timed::figure(data), shared::locked(data), shared::lines(data)]),
        ("Beside what else there is", vec![instead::instructions(data), instead::interrupts(data)]),
        ("Delays", vec![latency::figure(data)]),
        ("A trace replayed", vec![replayed::map(data), replayed::timeline(data)]),
        ("What went wrong elsewhere once", history::figures(data)),
    ];
    let chapters = chapters.into_iter().map(|(title, figures)| {
        let figures = figures.into_iter().flatten().collect();
        Chapter { title, figures }
    });
    chapters.filter(|chapter| !chapter.figures.is_empty()).collect()
}

/// A case's name without what all names have.
fn name(subject: &Subject) -> String {
    let zeroing = if subject.is_without_zeroing() { ", not zeroed" } else { "" };
    let turns = if subject.nr_sets > 1 { ", in turn" } else { "" };
    let name = subject.name.trim_end_matches("_test").trim_end_matches("_alloc").trim_end_matches("_vmalloc");
    format!("{name}{turns}{zeroing}")
}
