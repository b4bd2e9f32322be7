//! Measures a counter against clocks of known frequency, and decides which of several to believe.
//!
//! No clock of a PC is always there: each can be switched off, and one that is may still answer, with a
//! value that stands still. So a clock is believed if another one, or what the CPU says of itself, agrees.
//! Everything here is arithmetic on what closures read, and every loop has a bound.
#![no_std]

extern crate alloc;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::fmt;

/// Counts a second of a time stamp counter, at least and at most. No CPU of 64 bits was ever slower or
/// faster by far; a clock that stands still or jumps measures kilohertz or terahertz.
pub const PLAUSIBLE_HERTZ: core::ops::RangeInclusive<u64> = 100_000_000..=20_000_000_000;

/// Windows of a measurement in a second.
const WINDOWS_PER_SECOND: u64 = 200;
/// Windows of one measurement, at most.
const WINDOWS: usize = 16;
/// Windows that have to agree: with more than that undisturbed there is an end.
const AGREEING: usize = 3;
/// Windows agree if they differ by less than this part.
const WINDOW_PART: u64 = 256;
/// Two clocks agree if they differ by less than this part: what CPUs say of themselves is rounded to
/// 100 MHz, and the quartzes of old clocks are 0.1 per cent off.
const CLOCK_PART: u64 = 64;
/// Readings of a clock at one end of a window; the quickest counts.
const READINGS: usize = 8;
/// Readings within which a clock must move. A reading takes 10 ns at least (counted instructions), the
/// slowest clock ticks each 838 ns.
const STILL: usize = 1 << 14;
/// Readings within which a window must end.
const LONGEST: usize = 1 << 22;

/// A counter of known frequency.
pub trait Clock {
    /// Counts a second.
    fn hertz(&self) -> u64;
    /// Bits of the counter, which starts over at zero after 2 to the power of this.
    fn bits(&self) -> u32;
    /// The count now. Only the lower [`bits`](Self::bits) are looked at.
    fn read(&mut self) -> u64;
}

/// Why a clock measures nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The machine has none.
    Missing,
    /// It always shows the same.
    StandsStill,
    /// No measurement was confirmed by others.
    Unsteady,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "not there",
            Self::StandsStill => "stands still",
            Self::Unsteady => "unsteady",
        })
    }
}

impl core::error::Error for Fault {}

/// Measures how fast `counter`, which never wraps, counts: in counts a second of `clock`.
///
/// # Errors
/// The clock does not tick, or no three windows agreed.
pub fn measure(clock: &mut dyn Clock, counter: &mut dyn FnMut() -> u64) -> Result<u64, Fault> {
    let mut measured = [0; WINDOWS];
    for index in 0..WINDOWS {
        let hertz = window(clock, counter)?;
        let agreeing = measured[..index].iter().filter(|&&other| agree(hertz, other, WINDOW_PART)).count();
        if agreeing + 1 >= AGREEING {
            return Ok(hertz);
        }
        measured[index] = hertz;
    }
    Err(Fault::Unsteady)
}

/// Whether two frequencies differ by less than a `part`th.
fn agree(first: u64, second: u64, part: u64) -> bool {
    first.abs_diff(second) < first.max(second) / part
}

/// One measurement. An emulator may stop anywhere for its host, the clocks going on: so both counters are read
/// together at either end, and what lies between them is divided, however long it took.
fn window(clock: &mut dyn Clock, counter: &mut dyn FnMut() -> u64) -> Result<u64, Fault> {
    let mask = u64::MAX >> (u64::BITS - clock.bits());
    let least = (clock.hertz() / WINDOWS_PER_SECOND).max(1);
    let (start, began) = together(clock, counter);
    let (mut last, mut still) = (start, 0);
    for _ in 0..LONGEST {
        let now = clock.read();
        still = if now & mask == last & mask { still + 1 } else { 0 };
        last = now;
        if still == STILL {
            return Err(Fault::StandsStill);
        }
        if now.wrapping_sub(start) & mask >= least {
            let (end, ended) = together(clock, counter);
            let (ticks, counts) = (end.wrapping_sub(start) & mask, ended.saturating_sub(began));
            let hertz = u128::from(counts) * u128::from(clock.hertz()) / u128::from(ticks.max(1));
            return Ok(u64::try_from(hertz).unwrap_or(u64::MAX));
        }
    }
    Err(Fault::StandsStill)
}

/// The clock, and the counter at the same time: in the middle between readings before and after, which are
/// close if nothing disturbed.
fn together(clock: &mut dyn Clock, counter: &mut dyn FnMut() -> u64) -> (u64, u64) {
    let mut best = (u64::MAX, 0, 0);
    for _ in 0..READINGS {
        let before = counter();
        let read = clock.read();
        let took = counter().saturating_sub(before);
        if took < best.0 {
            best = (took, read, before + took / 2);
        }
    }
    (best.1, best.2)
}

/// What one source says of the counter's frequency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The source's name, for reports.
    pub source: &'static str,
    /// Counts a second.
    pub hertz: Result<u64, Fault>,
}

impl Finding {
    fn plausible(&self) -> Option<u64> {
        self.hertz.ok().filter(|hertz| PLAUSIBLE_HERTZ.contains(hertz))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hertz {
            Ok(hertz) => write!(f, "{} {} kHz", self.source, hertz / 1000),
            Err(fault) => write!(f, "{} {fault}", self.source),
        }
    }
}

/// The frequency to go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Counts a second.
    pub hertz: u64,
    /// Whose it is.
    pub source: &'static str,
    /// Who agrees; `None` if it was the only plausible one.
    pub confirmed_by: Option<&'static str>,
}

/// Why no frequency can be believed: what was found, none plausible, or several of which no two agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(Vec<Finding>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.iter().filter_map(Finding::plausible).count() {
            0 => "no clock to measure it by",
            _ => "no two clocks agree",
        })?;
        self.0
            .iter()
            .enumerate()
            .try_for_each(|(index, finding)| write!(f, "{}{finding}", if index == 0 { ": " } else { ", " }))
    }
}

impl core::error::Error for Refusal {}

/// Decides by the first two sources that agree, for the one that comes first: the most exact ones should.
/// Those behind are not asked any more.
///
/// # Errors
/// No source is plausible, or there are several and no two agree.
pub fn decide(findings: impl IntoIterator<Item = Finding>) -> Result<Decision, Refusal> {
    let mut seen: Vec<Finding> = Vec::new();
    for finding in findings {
        if let Some(hertz) = finding.plausible() {
            let agrees = |earlier: &&Finding| {
                earlier.plausible().is_some_and(|earlier| agree(earlier, hertz, CLOCK_PART))
            };
            if let Some(&Finding { source, hertz: Ok(hertz) }) = seen.iter().find(agrees) {
                return Ok(Decision { hertz, source, confirmed_by: Some(finding.source) });
            }
        }
        seen.push(finding);
    }
    let mut plausible = seen.iter().filter_map(|finding| Some((finding.source, finding.plausible()?)));
    match (plausible.next(), plausible.next()) {
        (Some((source, hertz)), None) => Ok(Decision { hertz, source, confirmed_by: None }),
        _ => Err(Refusal(seen)),
    }
}

/// By how many counts another CPU's counter is out of step at least. It was read on that CPU after `before`
/// was read here and before `after` was; 0 if it lies between, as it must if both count alike.
#[must_use]
pub fn out_of_step(before: u64, other: u64, after: u64) -> u64 {
    before.saturating_sub(other).max(other.saturating_sub(after))
}
