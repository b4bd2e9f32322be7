//! Bars from zero: a few level ones, or many upright ones.

use plotters::prelude::*;

use super::{Beside, Drawing, INK, MUTED, Plot, Scale, Size};

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it is of.
    pub name: String,
    /// How long it is.
    pub value: f64,
    /// The number at its end.
    pub text: String,
    /// Whose it is.
    pub colour: RGBColor,
}

/// Draws bars below each other, from the left; `unit` stands above the scale.
#[must_use]
pub fn level(bars: &[Bar], unit: &str) -> Drawing {
    let scale = Scale::linear(bars.iter().map(|bar| bar.value));
    let step = |size: Size| size.of(36, 48);
    Drawing::of(
        |size| 26 + step(size) * bars.len() as i32 + 26,
        |canvas, size| {
            let (top, bottom) = (26, 26 + step(size) * bars.len() as i32);
            let (left, right) = (size.of(226, 2), size.width() - size.of(86, 70));
            let one = Scale::linear([1.0]);
            let plot = Plot::new(&scale, &one, left, right, top, bottom);
            plot.upright_grid(canvas);
            canvas.text(unit, (left, 9), Beside::Right, MUTED);
            for (index, bar) in bars.iter().enumerate() {
                let middle = top + step(size) * index as i32 + size.of(18, 33);
                match size {
                    Size::Wide => canvas.text(&bar.name, (left - 16, middle), Beside::Left, INK),
                    Size::Narrow => canvas.text(&bar.name, (left, middle - 18), Beside::Right, INK),
                }
                let (end, _) = plot.at(bar.value, 0.0);
                canvas.bar([(left, middle - 9), (end, middle + 9)], bar.colour);
                canvas.title([(left, middle - 9), (end, middle + 9)], &format!("{}: {}", bar.name, bar.text));
                canvas.text(&bar.text, (end + 8, middle), Beside::Right, INK);
            }
        },
    )
}

/// Draws bars beside each other, from below, on a scale of powers of ten. Their names stand where they begin, `end` where
/// the last one ends, `unit` below that, `count` above the scale. A bar of nothing is not drawn.
#[must_use]
pub fn upright(bars: &[Bar], end: &str, unit: &str, count: &str) -> Drawing {
    let scale = Scale::log(bars.iter().map(|bar| bar.value).chain([1.0]));
    Drawing::of(
        |size| size.of(300, 260),
        |canvas, size| {
            let (left, right) = (size.of(60, 40), size.width() - 16);
            let (top, bottom) = (30, size.of(300, 260) - 48);
            let one = Scale::linear([1.0]);
            let plot = Plot::new(&one, &scale, left, right, top, bottom);
            plot.level_grid(canvas);
            canvas.text(count, (2, 9), Beside::Right, MUTED);
            canvas.text(unit, (right, bottom + 38), Beside::Left, MUTED);
            let step = (right - left) / bars.len().max(1) as i32;
            canvas.text(end, (left + step * bars.len() as i32, bottom + 14), Beside::Middle, MUTED);
            for (index, bar) in bars.iter().enumerate() {
                let (begin, next) = (left + step * index as i32, left + step * (index as i32 + 1));
                let middle = (begin + next) / 2;
                canvas.text(&bar.name, (begin, bottom + 14), Beside::Middle, MUTED);
                if bar.value > 0.0 {
                    // One is a power of ten, but no bar of no height.
                    let (_, y) = plot.at(0.0, bar.value);
                    let gap = size.of(4, 2);
                    canvas.bar([(begin + gap, y.min(bottom - 3)), (next - gap, bottom)], bar.colour);
                    canvas.text(&bar.text, (middle, y.min(bottom - 3) - 10), Beside::Middle, INK);
                }
            }
        },
    )
}
