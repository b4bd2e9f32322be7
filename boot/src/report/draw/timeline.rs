//! A timeline: strips below each other, on each of which bars stand where something was.

use plotters::prelude::*;

use super::{Beside, Drawing, GRID, INK, MUTED, Plot, Scale, Size};

/// A strip.
#[derive(Clone, Debug)]
pub struct Strip {
    /// What it is of.
    pub name: String,
    /// Its bars.
    pub bars: Vec<Bar>,
}

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Where it begins and ends on the scale.
    pub from: f64,
    /// As above.
    pub to: f64,
    /// Parts of the strip's height, from below, each in a colour.
    pub parts: Vec<(f64, RGBColor)>,
    /// What is told of it.
    pub title: String,
}

/// Pixels from a strip to the next, and of its bars.
const STEP: (i32, i32) = (44, 58);
const HEIGHT: i32 = 34;
const ABOVE: i32 = 6;
const BELOW: i32 = 46;

/// Draws strips below each other; `below` stands below the scale.
#[must_use]
pub fn draw(strips: &[Strip], x: &Scale, below: &str) -> Drawing {
    let step = |size: Size| size.of(STEP.0, STEP.1);
    let end = |size| ABOVE + step(size) * strips.len() as i32;
    Drawing::of(
        |size| end(size) + BELOW,
        |canvas, size| {
            let (left, right) = (size.of(150, 6), size.width() - 16);
            let one = Scale::linear([1.0]);
            let plot = Plot::new(x, &one, left, right, ABOVE, end(size));
            plot.numbers_below(canvas);
            canvas.text(below, ((left + right) / 2, plot.bottom + 34), Beside::Middle, MUTED);
            for (index, strip) in strips.iter().enumerate() {
                let bottom = ABOVE + step(size) * (index as i32 + 1) - 6;
                match size {
                    Size::Wide => {
                        canvas.text(&strip.name, (left - 16, bottom - HEIGHT / 2), Beside::Left, INK)
                    }
                    Size::Narrow => canvas.text(&strip.name, (left, bottom - HEIGHT - 9), Beside::Right, INK),
                }
                canvas.line(vec![(left, bottom), (right, bottom)], GRID, 1);
                for bar in &strip.bars {
                    let (from, to) = (plot.at(bar.from, 0.0).0, plot.at(bar.to, 0.0).0);
                    let to = to.max(from + 1).min(right);
                    let mut level = 0.0;
                    for &(part, colour) in bar.parts.iter().filter(|(part, _)| *part > 0.0) {
                        let lower = bottom - (level * f64::from(HEIGHT)).round() as i32;
                        level += part;
                        // What is there is seen.
                        let upper = (bottom - (level * f64::from(HEIGHT)).round() as i32).min(lower - 1);
                        canvas.bar([(from, upper), (to, lower)], colour);
                    }
                    canvas.title(
                        [(from, bottom - HEIGHT), (to, bottom)],
                        &format!("{}, {}", strip.name, bar.title),
                    );
                }
            }
        },
    )
}
