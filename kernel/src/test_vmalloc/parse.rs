//! Reading the parameters of `test_vmalloc` from words, and the modes of Linux's script.

use super::{
    cases::CASES,
    parameters::{Crate, Parameters, assignment, flag},
};
use crate::{arch::cpu, command::CommandError};
use alloc::format;

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
                nr_threads: cpu::online_count() as u64,
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
            if let Some(name) = word.strip_prefix("instead=") {
                parameters.instead = Some(Crate::parse(name)?);
                continue;
            }
            let (name, number) = assignment(word)?;
            match name {
                "nr_threads" => parameters.nr_threads = number,
                "sequential_test_order" => parameters.sequential_test_order = flag(word, number)?,
                "test_repeat_count" => parameters.test_repeat_count = number,
                "test_loop_count" => parameters.test_loop_count = number,
                "nr_pages" => parameters.nr_pages = number,
                "nr_sets" => parameters.nr_sets = number,
                "use_huge" => parameters.use_huge = flag(word, number)?,
                "run_test_mask" => parameters.run_test_mask = check_mask(name, number)?,
                "nr_pcpu_objects" => parameters.nr_pcpu_objects = number,
                "zero" => parameters.zero = flag(word, number)?,
                _ => return Err(CommandError::unknown("parameter", name, names())),
            }
        }
        parameters.check_instead()?;
        Ok(parameters)
    }

    /// Without the library there is less to ask for.
    fn check_instead(&self) -> Result<(), CommandError> {
        if self.instead.is_none() {
            return Ok(());
        }
        let there: u64 = CASES.iter().filter(|case| case.is_there_instead()).map(|case| case.bit).sum();
        if self.run_test_mask & !there != 0 {
            let text = format!(
                "run_test_mask={}: instead there are cases 1, 2, 4, 8 and 1024 only",
                self.run_test_mask
            );
            return Err(CommandError::new(text));
        }
        if self.use_huge {
            return Err(CommandError::new("use_huge=1: instead there are no 2 MiB pages"));
        }
        Ok(())
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

/// What may be assigned, with the sign, as the console completes it.
pub const WORDS: &[&str] = &[
    "instead=",
    "mode=",
    "nr_pages=",
    "nr_pcpu_objects=",
    "nr_sets=",
    "nr_threads=",
    "run_test_mask=",
    "sequential_test_order=",
    "test_loop_count=",
    "test_repeat_count=",
    "use_huge=",
    "zero=",
];

fn names() -> impl Iterator<Item = &'static str> + Clone {
    WORDS.iter().map(|word| word.trim_end_matches('='))
}
