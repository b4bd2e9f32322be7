//! The parameters of `test_vmalloc`, with the names and defaults of Linux's module, and the modes of its script.

use super::cases::CASES;
use crate::{arch::cpu, console::CommandError};
use alloc::format;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    pub nr_threads: u64,
    pub sequential_test_order: bool,
    pub test_repeat_count: u64,
    pub test_loop_count: u64,
    pub nr_pages: u64,
    pub use_huge: bool,
    pub run_test_mask: u64,
    pub nr_pcpu_objects: u64,
    /// The aligned cases ask for memory full of zeros.
    pub zero: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            nr_threads: 0,
            sequential_test_order: false,
            test_repeat_count: 1,
            test_loop_count: 1_000_000,
            nr_pages: 0,
            use_huge: false,
            run_test_mask: 7,
            nr_pcpu_objects: 35_000,
            zero: true,
        }
    }
}

impl Parameters {
    /// The parameters that a mode stands for.
    fn of_mode(mode: &str) -> Result<Self, CommandError> {
        let all: u64 = CASES.iter().map(|case| case.bit).sum();
        let default = Self::default();
        Ok(match mode {
            // The case that is left out fails by design.
            "performance" => Self {
                run_test_mask: all & !64,
                sequential_test_order: true,
                test_repeat_count: 3,
                nr_threads: 1,
                ..default
            },
            "smoke" => Self { test_loop_count: 10_000, test_repeat_count: 10, ..default },
            "stress" => Self {
                run_test_mask: all,
                test_repeat_count: 20,
                nr_threads: cpu::online().count() as u64,
                ..default
            },
            _ => {
                let text = format!("mode={mode}: neither performance, smoke nor stress");
                return Err(CommandError::new(text));
            }
        })
    }

    /// Reads `name=value` words. What they say themselves wins over what a mode among them stands for. The
    /// error names the word that is wrong.
    pub fn parse(words: &[&str]) -> Result<Self, CommandError> {
        let mut parameters = Self::default();
        for mode in words.iter().filter_map(|word| word.strip_prefix("mode=")) {
            parameters = Self::of_mode(mode)?;
        }
        for word in words.iter().filter(|word| !word.starts_with("mode=")) {
            let Some((name, value)) = word.split_once('=') else {
                return Err(CommandError::new(format!("{word}: not of the form name=value")));
            };
            let Some(number) = number(value) else {
                return Err(CommandError::new(format!("{word}: not a number")));
            };
            match name {
                "nr_threads" => parameters.nr_threads = number,
                "sequential_test_order" => parameters.sequential_test_order = flag(word, number)?,
                "test_repeat_count" => parameters.test_repeat_count = number,
                "test_loop_count" => parameters.test_loop_count = number,
                "nr_pages" => parameters.nr_pages = number,
                "use_huge" => parameters.use_huge = flag(word, number)?,
                "run_test_mask" => parameters.run_test_mask = check_mask(name, number)?,
                "nr_pcpu_objects" => parameters.nr_pcpu_objects = number,
                "zero" => parameters.zero = flag(word, number)?,
                _ => return Err(CommandError::new(format!("{name}: no such parameter"))),
            }
        }
        Ok(parameters)
    }

    /// Workers to run.
    pub fn workers(&self) -> usize {
        self.nr_threads.clamp(1, 65_535) as usize
    }

    /// Pages that case 1 allocates.
    pub fn pages(&self) -> usize {
        usize::try_from(self.nr_pages).unwrap_or(usize::MAX).max(1)
    }
}

/// Decimal, or hexadecimal behind 0x.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

pub(super) fn flag(word: &str, number: u64) -> Result<bool, CommandError> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(CommandError::new(format!("{word}: neither 0 nor 1"))),
    }
}

/// A sum of cases; `name` is what the error calls it.
pub(super) fn check_mask(name: &str, mask: u64) -> Result<u64, CommandError> {
    let known: u64 = CASES.iter().map(|case| case.bit).sum();
    if mask == 0 || mask & !known != 0 {
        return Err(CommandError::new(format!("{name}={mask}: not a sum of cases, 1 to {known}")));
    }
    Ok(mask)
}
