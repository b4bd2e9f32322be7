//! Scales: where a number lies between two others, and which numbers stand at the axis.

use std::ops::Range;

/// Decades that a value may lie outside of the last power of ten.
const OUTSIDE: f64 = 0.03;

/// A scale.
#[derive(Clone, Debug)]
pub struct Scale {
    is_log: bool,
    low: f64,
    high: f64,
    /// Numbers at the axis, and how they are written.
    pub ticks: Vec<(f64, String)>,
}

impl Scale {
    /// From a power of ten to another, which enclose the values; a value just outside of two powers does not add a third,
    /// but the scale reaches to it. Values that are not above 0 lie at its beginning.
    #[must_use]
    pub fn log(values: impl IntoIterator<Item = f64>) -> Self {
        let (least, greatest) = bounds(values.into_iter().filter(|value| *value > 0.0));
        let low = (least.log10() + OUTSIDE).floor() as i32;
        let high = ((greatest.log10() - OUTSIDE).ceil() as i32).max(low + 1);
        let ticks = (low..=high).map(|power| 10_f64.powi(power)).map(|value| (value, short(value)));
        let (low, high) = (10_f64.powi(low).min(least), 10_f64.powi(high).max(greatest));
        Self { is_log: true, low, high, ticks: ticks.collect() }
    }

    /// From the first of these numbers to the last; where each is as many times the one before, at equal distances.
    #[must_use]
    pub fn log_at(values: &[f64]) -> Self {
        let (low, high) = bounds(values.iter().copied());
        let ticks = values.iter().map(|&value| (value, short(value))).collect();
        Self { is_log: true, low, high: if high > low { high } else { low * 2.0 }, ticks }
    }

    /// From 0 to a round number that is not below the values.
    #[must_use]
    pub fn linear(values: impl IntoIterator<Item = f64>) -> Self {
        let (_, high) = bounds(values.into_iter().chain([0.0]));
        let high = if high > 0.0 { high } else { 1.0 };
        let power = 10_f64.powf((high / 4.0).log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|times| times * power);
        let step = step.into_iter().find(|step| high / step <= 5.0).unwrap_or(high);
        let steps = (high / step).ceil() as i32;
        let ticks = (0..=steps).map(|count| f64::from(count) * step).map(|value| (value, short(value)));
        Self { is_log: false, low: 0.0, high: f64::from(steps) * step, ticks: ticks.collect() }
    }

    /// Ends at this number, which only a linear scale does well.
    #[must_use]
    pub fn up_to(mut self, high: f64) -> Self {
        self.high = high;
        self.ticks.retain(|(value, _)| *value <= high);
        self
    }

    /// The scale's ends, as places.
    pub(super) fn range(&self) -> Range<f64> {
        self.place(self.low)..self.place(self.high)
    }

    /// The number where it begins.
    pub(super) fn first(&self) -> f64 {
        self.low
    }

    /// Where a number lies; outside of the scale, at its end.
    pub(super) fn place(&self, value: f64) -> f64 {
        let value = value.clamp(self.low, self.high);
        if self.is_log { value.log10() } else { value }
    }

    /// Whether a number lies below the scale.
    pub(super) fn is_below(&self, value: f64) -> bool {
        value < self.low
    }
}

/// The least and the greatest; 1 if there is none.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high { (1.0, 1.0) } else { (low, high) }
}

/// A number as axes have it: `10k`, `2.5M`.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        1e9.. => (value / 1e9, "G"),
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let rounded = (value * 1000.0).round() / 1000.0;
    format!("{rounded}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(scale: &Scale) -> Vec<&str> {
        scale.ticks.iter().map(|(_, text)| &**text).collect()
    }

    #[test]
    fn a_scale_encloses_its_values_and_has_few_numbers() {
        assert_eq!(written(&Scale::log([28.0, 104_000.0])), ["10", "100", "1k", "10k", "100k"]);
        assert_eq!(written(&Scale::log([100.0, 1000.0])), ["100", "1k"]);
        assert_eq!(written(&Scale::log([0.0, 0.02, 5.0])), ["0.01", "0.1", "1", "10"]);
        assert_eq!(written(&Scale::linear([223.0])), ["0", "50", "100", "150", "200", "250"]);
        assert_eq!(written(&Scale::linear([30_720.0])), ["0", "10k", "20k", "30k", "40k"]);
        assert_eq!(written(&Scale::linear([30_720.0]).up_to(32_000.0)), ["0", "10k", "20k", "30k"]);
        assert_eq!(written(&Scale::log_at(&[1.0, 2.0, 4.0])), ["1", "2", "4"]);
        for none in [Scale::log([]), Scale::linear([]), Scale::log([-3.0, 0.0]), Scale::log_at(&[])] {
            let range = none.range();
            assert!(range.start < range.end, "{none:?}");
        }
    }

    #[test]
    fn what_lies_outside_is_at_the_end() {
        let reaching = Scale::log([28.0, 104_000.0]);
        assert!(reaching.place(104_000.0) > reaching.place(100_000.0), "the scale reaches to all its values");
        let scale = Scale::log([10.0, 1000.0]);
        assert_eq!([0.0, 1.0, 100.0, 1e9].map(|value| scale.place(value)), [1.0, 1.0, 2.0, 3.0]);
        assert!(scale.is_below(-1.0) && !scale.is_below(10.0));
    }
}
