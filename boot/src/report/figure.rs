//! A figure: a drawing, what it says, and the numbers in it as a table.

use plotters::style::RGBColor;

use super::draw::Drawing;

/// A figure of the page.
#[derive(Debug)]
pub struct Figure {
    /// Its name in links.
    pub id: &'static str,
    /// What was found, in a sentence.
    pub title: String,
    /// What is to be seen.
    pub says: String,
    /// The command that makes the numbers.
    pub command: String,
    /// What the colours mean, where that does not stand beside what they colour.
    pub legend: Vec<Key>,
    /// The drawing.
    pub drawing: Drawing,
    /// The numbers.
    pub table: Table,
}

/// A sign, and what it means.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its colour.
    pub colour: RGBColor,
    /// Its shape.
    pub sign: Sign,
    /// What it means.
    pub name: &'static str,
}

/// Shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A full dot.
    Dot,
    /// A ring.
    Ring,
    /// A stroke.
    Stroke,
}

/// A key with a full dot.
#[must_use]
pub const fn key(colour: RGBColor, name: &'static str) -> Key {
    Key { colour, sign: Sign::Dot, name }
}

/// Numbers.
#[derive(Debug, Default)]
pub struct Table {
    /// Heads of the columns.
    pub heads: Vec<&'static str>,
    /// Rows.
    pub rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What stands in it.
    pub text: String,
    /// It is a number that the drawing has a mark for.
    pub drawn: bool,
}

impl Cell {
    /// Text, or a number that is not drawn.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), drawn: false }
    }

    /// A number that is drawn; nothing if there is none.
    #[must_use]
    pub fn drawn(value: Option<f64>) -> Self {
        match value {
            Some(value) => Self { text: number(value), drawn: true },
            None => Self::text("–"),
        }
    }

    /// The least and the greatest, which have no mark of their own.
    #[must_use]
    pub fn range(range: Option<[f64; 2]>) -> Self {
        Self::text(
            range.map_or("–".into(), |[least, greatest]| {
                format!("{} – {}", number(least), number(greatest))
            }),
        )
    }
}

/// A number with as many digits as say something, three by three.
#[must_use]
pub fn number(value: f64) -> String {
    if value.abs() < 10.0 && value.fract() != 0.0 {
        let text = if value.abs() < 1.0 { format!("{value:.3}") } else { format!("{value:.1}") };
        return match text.trim_start_matches('-').parse::<f64>() {
            Ok(0.0) => "0.000".into(),
            _ => text.replace('-', "−"),
        };
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("−{text}") } else { text }
}

/// How many times: `23×`, `9.4×`.
#[must_use]
pub fn times(value: f64) -> String {
    if value < 9.95 { format!("{value:.1}×") } else { format!("{}×", number(value.round())) }
}

/// The least and the greatest in words: `9 to 52`.
#[must_use]
pub fn from_to(values: impl IntoIterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let shown =
        |value: f64| if value < 3.0 { number((value * 10.0).round() / 10.0) } else { number(value.round()) };
    match values[..] {
        [] => "no".into(),
        [least, .., greatest] if shown(least) != shown(greatest) => {
            format!("{} to {}", shown(least), shown(greatest))
        }
        [one, ..] => shown(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_say_something() {
        let shown: Vec<_> =
            [0.0, 1.5, 131.65, 104_374.7, 8_704_735.4, 0.002, -0.00002, -0.2].map(number).into();
        let digits = shown.join(" ").replace('\u{202f}', "_");
        assert_eq!(digits, "0 1.5 132 104_375 8_704_735 0.002 0.000 −0.200");
        assert_eq!([22.97, 9.0, 1204.0].map(times).join(" "), "23× 9.0× 1\u{202f}204×");
        assert_eq!(from_to([27.8, 8.96, 51.5]), "9 to 52");
        assert_eq!(from_to([2.0, 2.04]), "2");
        assert_eq!(from_to([]), "no");
    }
}
