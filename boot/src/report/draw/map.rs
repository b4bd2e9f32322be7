//! A map: rows, each of which is divided among states, from left to right again and again.

use plotters::prelude::*;

use super::{Beside, Canvas, Drawing, GRID, MUTED, Plot, Scale, Size};

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// What it is of.
    pub name: String,
    /// What is told of it as a whole.
    pub title: String,
    /// At each place: which part of the row each state has, in the order of the colours. The rest is of no state.
    pub shares: Vec<Vec<f64>>,
}

/// Pixels of a row, and of the gap below.
const STEP: (i32, i32) = (22, 18);
const GAP: i32 = 3;
/// Pixels above the rows, and below.
const ABOVE: i32 = 26;
const BELOW: i32 = 46;

/// Draws rows below each other. `places` are where on the scale the shares are from; each holds until the next. `name`
/// stands above the names of the rows, `below` below the scale.
#[must_use]
pub fn draw(
    rows: &[Row],
    colours: &[RGBColor],
    x: &Scale,
    places: &[f64],
    name: &str,
    below: &str,
) -> Drawing {
    let step = |size: Size| size.of(STEP.0, STEP.1);
    let rows_end = |size| ABOVE + step(size) * rows.len() as i32;
    Drawing::of(
        |size| rows_end(size) + BELOW,
        |canvas, size| {
            let (left, right) = (size.of(64, 44), size.width() - 16);
            let one = Scale::linear([1.0]);
            let plot = Plot::new(x, &one, left, right, ABOVE, rows_end(size));
            canvas.text(name, (2, 9), Beside::Right, MUTED);
            plot.numbers_below(canvas);
            canvas.text(below, ((left + right) / 2, plot.bottom + 34), Beside::Middle, MUTED);
            let mut ends: Vec<i32> = places.iter().map(|&place| plot.at(place, 0.0).0).collect();
            ends.push(right);
            for (index, row) in rows.iter().enumerate() {
                let top = ABOVE + step(size) * index as i32;
                let bottom = top + step(size) - GAP;
                canvas.text(&row.name, (left - 8, (top + bottom) / 2), Beside::Left, MUTED);
                canvas.bar([(left, top), (right, bottom)], GRID);
                for (state, &colour) in colours.iter().enumerate() {
                    draw_state(canvas, row, state, &ends, (top, bottom), colour);
                }
                canvas.title([(left, top), (right, bottom)], &format!("{}: {}", row.name, row.title));
            }
        },
    )
}

/// Draws the part of a row that a state has, between those of the states before it and behind it.
fn draw_state(
    canvas: &Canvas<'_>,
    row: &Row,
    state: usize,
    ends: &[i32],
    (top, bottom): (i32, i32),
    colour: RGBColor,
) {
    let height = f64::from(bottom - top);
    let level = |shares: &[f64]| bottom - (shares.iter().sum::<f64>() * height).round() as i32;
    let bands = row
        .shares
        .iter()
        .zip(ends.windows(2))
        .map(|(shares, ends)| (ends[0], ends[1], level(&shares[..=state]), level(&shares[..state])));
    // Pieces that hang together, each a shape.
    let mut piece: Vec<(i32, i32, i32, i32)> = Vec::new();
    for band in bands.chain([(0, 0, 0, 0)]) {
        let (begin, end, upper, lower) = band;
        if upper < lower && begin < end {
            match piece.last_mut() {
                Some(last) if (last.2, last.3) == (upper, lower) => last.1 = end,
                _ => piece.push(band),
            }
        } else if begin >= end && upper < lower {
            // Two samples in one pixel.
        } else if !piece.is_empty() {
            let upper = piece.iter().flat_map(|&(begin, end, upper, _)| [(begin, upper), (end, upper)]);
            let lower = piece.iter().rev().flat_map(|&(begin, end, _, lower)| [(end, lower), (begin, lower)]);
            canvas.shape(upper.chain(lower).collect(), colour);
            piece.clear();
        }
    }
}
