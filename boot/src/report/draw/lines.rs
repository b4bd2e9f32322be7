//! Panels of lines on scales that all panels share.

use plotters::prelude::*;

use crate::report::figure::number;

use super::{Beside, Canvas, Drawing, GRID, INK, MUTED, Plot, Scale, Size};

/// A point: its place, and the least and the greatest where that is told.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Rightwards.
    pub x: f64,
    /// Upwards.
    pub y: f64,
    /// The least and the greatest.
    pub range: Option<[f64; 2]>,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What stands at its end; nothing if the panel's title says it.
    pub name: &'static str,
    /// Whose it is.
    pub colour: RGBColor,
    /// From left to right.
    pub points: Vec<Point>,
    /// A dot at each point.
    pub dots: bool,
}

/// A panel.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// Its lines, the most important last.
    pub lines: Vec<Line>,
}

/// How panels are laid out.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Panels beside each other, in wide and in narrow windows.
    pub columns: (usize, usize),
    /// Pixels of a panel's height, without its title and numbers.
    pub height: i32,
    /// What x is; stands below each panel.
    pub below: &'static str,
    /// What y is; stands above all.
    pub above: &'static str,
    /// Pixels for the names at the lines' ends.
    pub names: i32,
}

/// Pixels between a panel's top and its plot.
const TITLE: i32 = 28;
/// Pixels below its plot.
const BELOW: i32 = 46;
/// Pixels between names at the ends of lines.
const APART: i32 = 15;

/// Draws panels beside and below each other.
#[must_use]
pub fn draw(panels: &[Panel], x: &Scale, y: &Scale, layout: &Layout) -> Drawing {
    let columns = |size: Size| size.of(layout.columns.0, layout.columns.1).min(panels.len()).max(1);
    let each = TITLE + layout.height + BELOW;
    Drawing::of(
        |size| 20 + each * panels.len().div_ceil(columns(size)) as i32,
        |canvas, size| {
            canvas.text(layout.above, (2, 9), Beside::Right, MUTED);
            let gap = size.of(24, 8);
            let columns = columns(size) as i32;
            let width = (size.width() + gap) / columns - gap;
            for (index, panel) in panels.iter().enumerate() {
                let (column, row) = (index as i32 % columns, index as i32 / columns);
                let left = column * (width + gap) + 44;
                let right = column * (width + gap) + width - layout.names.max(14);
                let top = 20 + row * each + TITLE;
                let plot = Plot::new(x, y, left, right, top, top + layout.height);
                draw_panel(canvas, &plot, panel, layout);
            }
        },
    )
}

fn draw_panel(canvas: &Canvas<'_>, plot: &Plot<'_>, panel: &Panel, layout: &Layout) {
    plot.level_grid(canvas);
    plot.numbers_below(canvas);
    canvas.line(vec![(plot.left, plot.bottom), (plot.right, plot.bottom)], GRID, 1);
    canvas.text(&panel.title, (plot.left, plot.top - 15), Beside::Right, INK);
    canvas.text(layout.below, ((plot.left + plot.right) / 2, plot.bottom + 34), Beside::Middle, MUTED);
    let mut ends = Vec::new();
    for line in &panel.lines {
        let places: Vec<_> = line.points.iter().map(|point| plot.at(point.x, point.y)).collect();
        canvas.line(places.clone(), line.colour, if line.dots { 2 } else { 1 });
        if line.dots {
            for (point, &place) in line.points.iter().zip(&places) {
                if let Some([least, greatest]) = point.range {
                    let ends = [least, greatest].map(|value| plot.at(point.x, value));
                    canvas.line(ends.to_vec(), line.colour, 3);
                }
                canvas.dot(place, line.colour, true);
                let (x, y) = place;
                let text = format!("{}: {} at {}", line.name, number(point.y), number(point.x));
                canvas.title([(x - 6, y - 6), (x + 6, y + 6)], text.trim_start_matches(": "));
            }
        }
        if let (false, Some(&(x, y))) = (line.name.is_empty(), places.last()) {
            ends.push((x, y, line));
        }
    }
    for (x, y, line) in apart(ends) {
        canvas.text(line.name, (x + 10, y), Beside::Right, line.colour);
    }
}

/// Moves names that lie on each other apart, from the lowest upwards.
fn apart<T>(mut ends: Vec<(i32, i32, T)>) -> Vec<(i32, i32, T)> {
    ends.sort_by_key(|(_, y, _)| -y);
    let mut below = i32::MAX;
    for (_, y, _) in &mut ends {
        *y = (*y).min(below.saturating_sub(APART));
        below = *y;
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen failing with the names left where the lines end.
    #[test]
    fn names_at_the_ends_of_lines_do_not_lie_on_each_other() {
        let moved = apart(vec![(0, 100, 'a'), (0, 98, 'b'), (0, 20, 'c')]);
        assert_eq!(moved, [(0, 100, 'a'), (0, 85, 'b'), (0, 20, 'c')]);
    }
}
