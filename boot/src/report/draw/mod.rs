//! Draws figures as SVG by the crate `plotters`: scales, and what all kinds of figures have in common.
//!
//! | module | for |
//! |---|---|
//! | [`dots`] | rows of dots on one scale |
//! | [`bars`] | bars beside each other |
//! | [`lines`] | panels of lines |
//! | [`map`] | rows that are divided among states |
//! | [`timeline`] | strips on which bars stand where something was |
//!
//! Each drawing is made twice, [`Size::Wide`] and [`Size::Narrow`], and the page shows one of them. Colours are names in
//! disguise: the page's style sheet says by the attributes which colour each one is, in the light and in the dark.

pub mod bars;
pub mod dots;
pub mod lines;
pub mod map;
mod scale;
pub mod timeline;

pub use scale::Scale;

use std::cell::RefCell;

use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// What is drawn of this kernel.
pub const HERE: RGBColor = RGBColor(0, 114, 178);
/// What is drawn of Linux.
pub const LINUX: RGBColor = RGBColor(213, 94, 0);
/// What is drawn of the floor.
pub const FLOOR: RGBColor = RGBColor(128, 128, 128);
/// What is drawn of the crate `free-list`.
pub const FREE_LIST: RGBColor = RGBColor(0, 158, 115);
/// What is drawn of the crate `vmem`.
pub const VMEM: RGBColor = RGBColor(204, 121, 167);
/// What a CPU has parked.
pub const PARKED: RGBColor = RGBColor(86, 180, 233);
/// What is free, where that is drawn.
pub const FREE: RGBColor = GRID;
/// Text.
const INK: RGBColor = RGBColor(17, 17, 17);
/// Text that may be overlooked.
const MUTED: RGBColor = RGBColor(102, 102, 102);
/// Lines behind everything.
const GRID: RGBColor = RGBColor(221, 221, 221);
/// What is behind everything.
const PAPER: RGBColor = RGBColor(255, 255, 255);

/// Pixels of a letter's height.
const TEXT: f64 = 13.0;
/// Pixels of a digit's width, about.
const DIGIT: i32 = 8;
/// Times its size, plotters takes a font for higher than SVG does.
const HIGHER: f64 = 1.24;

/// For which windows a drawing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 960 pixels wide.
    Wide,
    /// 360 pixels wide.
    Narrow,
}

impl Size {
    /// Pixels.
    fn width(self) -> i32 {
        self.of(960, 360)
    }

    /// One of two things.
    fn of<T>(self, wide: T, narrow: T) -> T {
        match self {
            Self::Wide => wide,
            Self::Narrow => narrow,
        }
    }
}

/// A drawing, for each size.
#[derive(Debug)]
pub struct Drawing {
    /// SVG.
    pub wide: String,
    /// SVG.
    pub narrow: String,
}

impl Drawing {
    /// Draws twice.
    fn of(height: impl Fn(Size) -> i32, draw: impl Fn(&Canvas<'_>, Size)) -> Self {
        let [wide, narrow] = [Size::Wide, Size::Narrow].map(|size| {
            let mut svg = String::new();
            let titles = RefCell::default();
            let sheet = SVGBackend::with_string(&mut svg, (size.width() as u32, height(size) as u32));
            let canvas = Canvas { sheet: sheet.into_drawing_area(), titles: &titles };
            draw(&canvas, size);
            drop(canvas);
            let end = svg.rfind("</svg>").unwrap_or(svg.len());
            svg.insert_str(end, &titles.into_inner());
            svg
        });
        Self { wide, narrow }
    }
}

/// Where text lies beside its point.
#[derive(Clone, Copy, Debug)]
enum Beside {
    Left,
    Right,
    Middle,
}

/// A sheet of pixels. What is drawn on it goes to memory, which cannot fail.
struct Canvas<'a> {
    sheet: DrawingArea<SVGBackend<'a>, plotters::coord::Shift>,
    /// What is shown where the pointer rests: unseen shapes above all others.
    titles: &'a RefCell<String>,
}

impl Canvas<'_> {
    fn text(&self, text: &str, at: (i32, i32), beside: Beside, colour: RGBColor) {
        let anchor = match beside {
            Beside::Left => HPos::Right,
            Beside::Right => HPos::Left,
            Beside::Middle => HPos::Center,
        };
        let font = ("sans-serif", TEXT * HIGHER).into_font();
        let style = font.color(&colour).pos(Pos::new(anchor, VPos::Center));
        self.sheet.draw(&Text::new(text.to_owned(), at, style)).expect("memory");
    }

    /// In the middle of its place, if that is not too near the left edge.
    fn number_below(&self, text: &str, (x, y): (i32, i32)) {
        let half = text.len() as i32 * DIGIT / 2;
        self.text(text, (x.max(half + 1), y), Beside::Middle, MUTED);
    }

    fn line(&self, points: Vec<(i32, i32)>, colour: RGBColor, width: u32) {
        self.sheet.draw(&PathElement::new(points, colour.stroke_width(width))).expect("memory");
    }

    /// A full dot, or a ring.
    fn dot(&self, at: (i32, i32), colour: RGBColor, full: bool) {
        if full {
            self.sheet.draw(&Circle::new(at, 5, colour.filled())).expect("memory");
        } else {
            self.sheet.draw(&Circle::new(at, 5, PAPER.filled())).expect("memory");
            self.sheet.draw(&Circle::new(at, 4, colour.stroke_width(2))).expect("memory");
        }
    }

    /// Has text be shown where the pointer rests between two corners.
    fn title(&self, [(left, top), (right, bottom)]: [(i32, i32); 2], text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let (width, height) = (right - left, bottom - top);
        self.titles.borrow_mut().push_str(&format!(
            "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"none\" pointer-events=\"all\">\
             <title>{text}</title></rect>\n"
        ));
    }

    /// A shape between these points.
    fn shape(&self, points: Vec<(i32, i32)>, colour: RGBColor) {
        self.sheet.draw(&Polygon::new(points, colour.filled())).expect("memory");
    }

    fn bar(&self, corners: [(i32, i32); 2], colour: RGBColor) {
        self.sheet.draw(&Rectangle::new(corners, colour.filled())).expect("memory");
    }
}

/// A part of the sheet in which scales give the places.
struct Plot<'a> {
    x: &'a Scale,
    y: &'a Scale,
    spec: Cartesian2d<RangedCoordf64, RangedCoordf64>,
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl<'a> Plot<'a> {
    fn new(x: &'a Scale, y: &'a Scale, left: i32, right: i32, top: i32, bottom: i32) -> Self {
        let spec = Cartesian2d::new(x.range(), y.range(), (left..right, bottom..top));
        Self { x, y, spec, left, right, top, bottom }
    }

    /// The pixel of a point.
    fn at(&self, x: f64, y: f64) -> (i32, i32) {
        self.spec.translate(&(self.x.place(x), self.y.place(y)))
    }

    /// Upright lines, and the numbers below them.
    fn upright_grid(&self, canvas: &Canvas<'_>) {
        for (value, text) in &self.x.ticks {
            let (x, _) = self.at(*value, self.y.first());
            canvas.line(vec![(x, self.top), (x, self.bottom)], GRID, 1);
            canvas.number_below(text, (x, self.bottom + 13));
        }
    }

    /// Level lines, and the numbers left of them.
    fn level_grid(&self, canvas: &Canvas<'_>) {
        for (value, text) in &self.y.ticks {
            let (_, y) = self.at(self.x.first(), *value);
            canvas.line(vec![(self.left, y), (self.right, y)], GRID, 1);
            canvas.text(text, (self.left - 8, y), Beside::Left, MUTED);
        }
    }

    /// Only the numbers below.
    fn numbers_below(&self, canvas: &Canvas<'_>) {
        // From the right, so that the last has its number; one that would touch it has none.
        let mut free = i32::MAX;
        for (value, text) in self.x.ticks.iter().rev() {
            let (x, _) = self.at(*value, self.y.first());
            canvas.line(vec![(x, self.bottom), (x, self.bottom + 4)], GRID, 1);
            let half = (text.len() as i32 * DIGIT) / 2 + 3;
            if x + half <= free {
                canvas.text(text, (x, self.bottom + 16), Beside::Middle, MUTED);
                free = x - half;
            }
        }
    }
}
