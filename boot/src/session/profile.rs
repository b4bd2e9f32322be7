//! A profile: the samples that a kernel tells of, as a table of functions.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use protocol::Record;

use crate::symbols::Symbols;

/// Functions that are told; the rest is summed up.
const FUNCTIONS: usize = 30;

/// The samples of the profile that is being told.
#[derive(Debug, Default)]
pub struct Profile {
    /// How many samples there are at each address.
    samples: BTreeMap<u64, u64>,
}

/// A function, and its line that has the most samples.
#[derive(Debug, Default)]
struct Function {
    samples: u64,
    hottest: u64,
    line: String,
}

impl Profile {
    /// Takes the next record; one of another kind changes nothing. Returns the table when all samples are there.
    pub fn take(&mut self, record: Record<'_>, symbols: &Symbols) -> Option<String> {
        match record {
            Record::Sample { address, count } => *self.samples.entry(address).or_default() += count,
            Record::Profile { hertz, lost } => {
                let samples = std::mem::take(&mut self.samples);
                return Some(table(&samples, symbols, hertz, lost));
            }
            _ => {}
        }
        None
    }
}

/// Sums up the samples of functions and lines by function.
fn by_function(lines: BTreeMap<(String, String), u64>) -> BTreeMap<String, Function> {
    let mut functions = BTreeMap::<String, Function>::new();
    for ((name, line), count) in lines {
        let function = functions.entry(name).or_default();
        function.samples += count;
        if count > function.hottest {
            (function.hottest, function.line) = (count, line);
        }
    }
    functions
}

fn table(samples: &BTreeMap<u64, u64>, symbols: &Symbols, hertz: u64, lost: u64) -> String {
    let total: u64 = samples.values().sum();
    let mut lines = BTreeMap::<(String, String), u64>::new();
    for (&address, count) in samples {
        let place = symbols.place(address);
        let key = place.map_or_else(|| (format!("{address:#x}"), String::new()), |at| (at.outer, at.line));
        *lines.entry(key).or_default() += count;
    }
    let mut functions: Vec<_> = by_function(lines).into_iter().collect();
    functions.sort_by_key(|(_, function)| Reverse(function.samples));
    let share = |samples: u64| samples as f64 * 100.0 / total.max(1) as f64;
    let mut text = format!("{total} samples, {hertz} a second of each CPU");
    if lost > 0 {
        let _ = write!(text, "; {lost} more had no room");
    }
    text += "\n  share  function and its hottest line\n";
    for (name, function) in functions.iter().take(FUNCTIONS) {
        let _ = writeln!(
            text,
            "{:5.1} %  {}",
            share(function.samples),
            format!("{name} {}", function.line).trim_end()
        );
    }
    if let Some(rest) = functions.get(FUNCTIONS..).filter(|rest| !rest.is_empty()) {
        let samples = rest.iter().map(|(_, function)| function.samples).sum();
        let _ = writeln!(text, "{:5.1} %  {} others", share(samples), rest.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_hottest_line_is_the_first_with_most_samples() {
        let lines = [("f", "a", 2), ("f", "b", 5), ("f", "c", 5), ("f", "d", 1), ("g", "e", 3)];
        let lines = lines.map(|(function, line, count)| ((function.into(), line.into()), count));
        let functions = by_function(lines.into_iter().collect());
        let found = functions.iter().map(|(name, at)| (&**name, at.samples, at.hottest, &*at.line));
        assert_eq!(found.collect::<Vec<_>>(), [("f", 13, 5, "b"), ("g", 3, 3, "e")]);
    }

    #[test]
    fn shares_are_sorted_and_the_rest_is_summed_up() {
        let symbols = Symbols::of(None);
        let mut profile = Profile::default();
        for address in 0..40 {
            assert_eq!(profile.take(Record::Sample { address, count: address + 1 }, &symbols), None);
        }
        assert_eq!(profile.take(Record::Console, &symbols), None);
        let text = profile.take(Record::Profile { hertz: 1000, lost: 7 }, &symbols).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "820 samples, 1000 a second of each CPU; 7 more had no room");
        assert_eq!((lines[2], lines[3]), ("  4.9 %  0x27", "  4.8 %  0x26"));
        assert_eq!((lines.len(), lines[32]), (33, "  6.7 %  10 others"));
        let empty = profile.take(Record::Profile { hertz: 1, lost: 0 }, &symbols).unwrap();
        assert_eq!(empty, "0 samples, 1 a second of each CPU\n  share  function and its hottest line\n");
    }
}
