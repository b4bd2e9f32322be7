//! The page: one file that needs nothing else, and no script.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotters::style::RGBColor;

use crate::bench::figure::Part;

use super::data::{Data, Source};
use super::figure::{Figure, Key, Sign, Table};
use super::figures::{self, Chapter};

/// How it looks.
const STYLE: &str = include_str!("style.css");

/// The page as HTML.
#[must_use]
pub fn html(data: &Data) -> String {
    let chapters = figures::all(data);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Browsers ask the network for one if none is named.
                link rel="icon" href="data:,";
                title { "vmalloc: the measurements" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "vmalloc: the measurements" }
                    p { "Kernel virtual memory, allocated by this library, by Linux, and by what else there is." }
                    (sources(&data.sources))
                    (contents(&chapters))
                }
                main {
                    @for chapter in &chapters {
                        section {
                            h2 { (chapter.title) }
                            @for figure in &chapter.figures { (drawn(figure)) }
                        }
                    }
                }
                footer {
                    @for line in left_out(data, &chapters) { p { (line) } }
                    p {
                        "Made by " code { "./run.sh report" } ". Instructions that are counted are the same on each \
                        computer; times are not."
                    }
                }
            }
        }
    };
    page.into_string()
}

/// Machine, versions, date and commit.
fn sources(sources: &[Source]) -> Markup {
    html! {
        details.sources {
            summary { (told(sources)) }
            div.scroll {
                table {
                    thead { tr { @for head in ["from", "parts", "commit", "date", "QEMU", "Linux", "CPUs"] { th { (head) } } } }
                    tbody {
                        @for source in sources {
                            tr {
                                td { (source.name) }
                                td { (source.parts.iter().map(|part| name(*part)).collect::<Vec<_>>().join(", ")) }
                                td { code { (commit(source)) } }
                                td { (source.date.as_deref().unwrap_or("–")) }
                                td { (source.qemu.as_deref().map_or("–", qemu)) }
                                td { (source.linux.as_deref().unwrap_or("–")) }
                                td { (source.computer_cpus.map_or("–".into(), |cpus| cpus.to_string())) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The last source in a line; the table has all.
fn told(sources: &[Source]) -> String {
    let Some(last) = sources.last() else { return "Nothing was measured".into() };
    let date = sources.iter().filter_map(|source| source.date.as_deref()).max();
    let linux = sources.iter().rev().find_map(|source| source.linux.as_deref());
    let cpus = last.computer_cpus.map(|cpus| format!("a computer of {cpus} CPUs"));
    let mut words = vec![format!("commit {}", commit(last))];
    words.extend(date.map(str::to_owned));
    words.extend(last.qemu.as_deref().map(|version| format!("QEMU {}", qemu(version))));
    words.extend(linux.map(|version| version.split(" (").next().unwrap_or(version).to_owned()));
    words.extend(cpus);
    words.join(" · ")
}

fn commit(source: &Source) -> String {
    let commit = source.commit.as_deref().map_or("–", |commit| commit.get(..10).unwrap_or(commit));
    format!("{commit}{}", if source.changed { ", changed" } else { "" })
}

/// The number alone.
fn qemu(version: &str) -> &str {
    version.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).unwrap_or(version)
}

/// A part as the user types it.
fn name(part: Part) -> String {
    clap::ValueEnum::to_possible_value(&part).map_or("replay".into(), |value| value.get_name().to_owned())
}

fn contents(chapters: &[Chapter]) -> Markup {
    html! {
        nav aria-label="Figures" {
            ol {
                @for figure in chapters.iter().flat_map(|chapter| &chapter.figures) {
                    li { a href={ "#" (figure.id) } { (figure.title) } }
                }
            }
        }
    }
}

fn drawn(figure: &Figure) -> Markup {
    html! {
        figure id=(figure.id) {
            h3 { (figure.title) }
            p { (figure.says) }
            @if !figure.legend.is_empty() {
                ul.legend { @for key in &figure.legend { li { (sign(key)) (key.name) } } }
            }
            div.wide role="img" aria-label=(figure.title) { (PreEscaped(&figure.drawing.wide)) }
            div.narrow role="img" aria-label=(figure.title) { (PreEscaped(&figure.drawing.narrow)) }
            p.command { code { (figure.command) } }
            details {
                summary { "The numbers" }
                div.scroll { (numbers(&figure.table)) }
            }
        }
    }
}

fn sign(key: &Key) -> Markup {
    let RGBColor(red, green, blue) = key.colour;
    let colour = format!("#{red:02X}{green:02X}{blue:02X}");
    html! {
        svg width="12" height="12" viewBox="0 0 12 12" aria-hidden="true" {
            @match key.sign {
                Sign::Dot => circle cx="6" cy="6" r="5" fill=(colour) {},
                Sign::Ring => circle cx="6" cy="6" r="4" fill="none" stroke=(colour) stroke-width="2" {},
                Sign::Stroke => line x1="6" y1="0" x2="6" y2="12" stroke="#666666" stroke-width="2" {},
            }
        }
    }
}

fn numbers(table: &Table) -> Markup {
    html! {
        table {
            thead { tr { @for head in &table.heads { th { (head) } } } }
            tbody {
                @for row in &table.rows {
                    tr { @for cell in row { td.drawn[cell.drawn] { (cell.text) } } }
                }
            }
        }
    }
}

/// What the page has no figures of, and why.
fn left_out(data: &Data, chapters: &[Chapter]) -> Vec<String> {
    let mut lines = Vec::new();
    let has = |id: &str| chapters.iter().flat_map(|chapter| &chapter.figures).any(|figure| figure.id == id);
    let parts = [
        ("cases", "cases"),
        ("sizes", "sizes"),
        ("live", "live"),
        ("timed", "timed"),
        ("locked", "shared"),
        ("instead", "instead"),
    ];
    let missing: Vec<&str> = parts.iter().filter(|(id, _)| !has(id)).map(|(_, part)| *part).collect();
    if !missing.is_empty() {
        lines.push(format!("Not measured: ./run.sh bench {}", missing.join(" ")));
    }
    match &data.history {
        None => lines.push("Not measured: ./run.sh bench history".into()),
        Some(history) => {
            lines.extend(history.failures().map(|(name, why)| format!("{name} went wrong: {why}")))
        }
    }
    match &data.latency {
        None => lines.push("Not measured: ./run.sh bench latency".into()),
        Some(latency) => lines.extend(latency.failed().map(|why| format!("latency went wrong: {why}"))),
    }
    lines
}
