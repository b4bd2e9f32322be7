//! Rows of dots on one scale: who took how much.

use plotters::prelude::*;

use crate::report::figure::number;

use super::{Beside, Canvas, Drawing, GRID, INK, MUTED, Plot, Scale, Size};

/// A dot.
#[derive(Clone, Debug)]
pub struct Dot {
    /// Its number.
    pub value: f64,
    /// The least and the greatest, where that is told.
    pub range: Option<[f64; 2]>,
    /// Whose it is.
    pub colour: RGBColor,
    /// Not a ring.
    pub full: bool,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is of.
    pub name: String,
    /// Its dots, the most important last.
    pub dots: Vec<Dot>,
    /// Numbers that are marked by a stroke.
    pub strokes: Vec<f64>,
    /// What stands at its end.
    pub note: String,
}

/// Pixels between two rows.
const STEP: (i32, i32) = (30, 44);

/// Draws rows below each other. `unit` stands above the scale, `note` above the notes.
#[must_use]
pub fn draw(rows: &[Row], scale: &Scale, unit: &str, note: &str) -> Drawing {
    let below = || rows.iter().flat_map(|row| &row.dots).filter(|dot| scale.is_below(dot.value));
    let is_any_below = below().next().is_some();
    let step = |size: Size| size.of(STEP.0, STEP.1);
    let height = |size| 26 + step(size) * rows.len() as i32 + 26;
    Drawing::of(height, |canvas, size| {
        let (top, width) = (26, size.width());
        let bottom = top + step(size) * rows.len() as i32;
        let zero = if is_any_below { size.of(48, 52) } else { 0 };
        let (left, right) = (size.of(226, 6) + zero, width - size.of(86, 58));
        let level = Scale::linear([rows.len() as f64]);
        let plot = Plot::new(scale, &level, left, right, top, bottom);
        plot.upright_grid(canvas);
        if is_any_below {
            let text = match below().all(|dot| dot.value == 0.0) {
                true => "0".to_owned(),
                false => format!("< {}", scale.ticks.first().map_or("", |(_, text)| text)),
            };
            canvas.line(vec![(left - zero, top), (left - zero, bottom)], GRID, 1);
            canvas.number_below(&text, (left - zero, bottom + 13));
        }
        canvas.text(unit, (left - zero, 9), Beside::Right, MUTED);
        canvas.text(note, (width - 2, 9), Beside::Left, MUTED);
        for (index, row) in rows.iter().enumerate() {
            let middle = top + step(size) * index as i32 + size.of(STEP.0 / 2, 31);
            match size {
                Size::Wide => canvas.text(&row.name, (left - zero - 16, middle), Beside::Left, INK),
                Size::Narrow => canvas.text(&row.name, (left - zero, middle - 17), Beside::Right, INK),
            }
            canvas.text(&row.note, (width - 2, middle), Beside::Left, INK);
            draw_row(canvas, row, |value| {
                let x = if scale.is_below(value) { left - zero } else { plot.at(value, 0.0).0 };
                (x, middle)
            });
        }
    })
}

fn draw_row(canvas: &Canvas<'_>, row: &Row, at: impl Fn(f64) -> (i32, i32)) {
    let values = || row.dots.iter().map(|dot| at(dot.value));
    if let (Some(first), Some(last)) = (values().min(), values().max()) {
        canvas.line(vec![first, last], GRID, 3);
    }
    for &value in &row.strokes {
        let (x, y) = at(value);
        canvas.line(vec![(x, y - 6), (x, y + 6)], MUTED, 2);
    }
    for dot in &row.dots {
        if let Some([least, greatest]) = dot.range {
            canvas.line(vec![at(least), at(greatest)], dot.colour, 2);
        }
        let (x, y) = at(dot.value);
        canvas.dot((x, y), dot.colour, dot.full);
        canvas.title([(x - 6, y - 6), (x + 6, y + 6)], &format!("{}: {}", row.name, number(dot.value)));
    }
}
