//! The drawing of a crate's rooms.

use std::fmt::Write;
use std::path::Path;

use super::graph;
use super::order::Room;
use super::plan::{Plan, ROOT};
use super::sizes::{self, Files};

/// Draws the rooms from top to bottom, each with its sentence and with what it uses; or, where no order is declared,
/// the knots.
#[must_use]
pub fn plan(plan: &Plan) -> String {
    let mut text = format!("{}: its rooms, top to bottom\n", plan.folder);
    match &plan.order {
        Some(order) => {
            let root = Room { name: ROOT.into(), sentence: "The crate's root.".into() };
            std::iter::once(&root).chain(order).for_each(|line| room(plan, line, &mut text));
        }
        None => {
            text = format!("{}: there is no ROOMS, so only the knots are drawn\n", plan.folder);
            knots(plan, &mut text);
        }
    }
    text
}

// Writing to a string cannot fail.
fn room(plan: &Plan, line: &Room, text: &mut String) {
    let (files, door) = (plan.files(&line.name), plan.door(&line.name));
    let _ = writeln!(text, "{:<14} {} ({}, door {door})", line.name, line.sentence, counted(files, "file"));
    let mut below = String::new();
    for ((from, to), bundle) in plan.bundles() {
        if from == line.name {
            let mark = if plan.runs_up(from, to) { "  UP" } else { "    " };
            let (imports, calls) = (bundle.imports.len(), bundle.calls.len());
            let _ = writeln!(below, "{mark} → {to} (imports {imports}, calls {calls})");
        }
    }
    text.push_str(&below);
}

fn knots(plan: &Plan, text: &mut String) {
    let graph = plan.graph();
    let bundles = plan.bundles();
    for knot in graph::knots(&graph) {
        let inside = bundles.iter().filter(|((from, to), _)| knot.contains(*from) && knot.contains(*to));
        let (mut pairs, mut imports, mut calls) = (0, 0, 0);
        for (_, bundle) in inside {
            pairs += 1;
            imports += bundle.imports.len();
            calls += bundle.calls.len();
        }
        let names: Vec<&str> = knot.iter().map(String::as_str).collect();
        let _ = writeln!(
            text,
            "a knot of {} rooms, {pairs} arrows (imports {imports}, calls {calls}): {}",
            names.len(),
            names.join(" ")
        );
    }
    let to_root: Vec<String> = bundles
        .iter()
        .filter(|((_, to), _)| *to == ROOT)
        .map(|((from, _), bundle)| format!("{from} ({})", bundle.imports.len() + bundle.calls.len()))
        .collect();
    if !to_root.is_empty() {
        let _ = writeln!(text, "what {ROOT}.rs defines is used by: {}", to_root.join(" "));
    }
}

/// The last line of a drawing: the crate in figures. Paths are shown from `root` on.
#[must_use]
pub fn summary(plan: &Plan, files: &Files, root: &Path) -> String {
    let bundles = plan.bundles();
    let up = bundles.keys().filter(|(from, to)| plan.runs_up(from, to)).count();
    let up = if plan.order.is_some() { format!("{up} run up") } else { "no order".into() };
    let (longest, lines) = sizes::longest(files).unwrap_or((root, 0));
    format!(
        "{}, {}, {up}; longest file {} ({lines} lines), median {} lines\n",
        counted(plan.source.rooms().len(), "room"),
        counted(bundles.len(), "arrow"),
        longest.strip_prefix(root).unwrap_or(longest).display(),
        sizes::median(files),
    )
}

/// A number and what there are so many of.
#[must_use]
pub fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
