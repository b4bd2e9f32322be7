//! The parameters of `test_vmalloc`, with the names and defaults of Linux's module.

use crate::command::CommandError;
use alloc::format;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    pub nr_threads: u64,
    pub sequential_test_order: bool,
    pub test_repeat_count: u64,
    pub test_loop_count: u64,
    pub nr_pages: u64,
    pub nr_sets: u64,
    pub use_huge: bool,
    pub run_test_mask: u64,
    pub nr_pcpu_objects: u64,
    /// The aligned cases ask for memory full of zeros.
    pub zero: bool,
    /// What makes the areas in the library's place.
    pub instead: Option<Crate>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            nr_threads: 0,
            sequential_test_order: false,
            test_repeat_count: 1,
            test_loop_count: 1_000_000,
            nr_pages: 0,
            nr_sets: 1,
            use_huge: false,
            run_test_mask: 7,
            nr_pcpu_objects: 35_000,
            zero: true,
            instead: None,
        }
    }
}

impl Parameters {
    /// Workers to run.
    pub fn workers(&self) -> usize {
        self.nr_threads.clamp(1, 65_535) as usize
    }

    /// Pages that cases 1 and 1024 take.
    pub fn pages(&self) -> usize {
        usize::try_from(self.nr_pages).unwrap_or(usize::MAX).max(1)
    }

    /// Sets of pages that case 1024 maps in turn.
    pub fn sets(&self) -> usize {
        usize::try_from(self.nr_sets).unwrap_or(usize::MAX).max(1)
    }
}

/// What stands in the place of the library, by the crate that gives the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crate {
    FreeList,
    Vmem,
}

impl Crate {
    pub fn parse(name: &str) -> Result<Self, CommandError> {
        match name {
            "free-list" => Ok(Self::FreeList),
            "vmem" => Ok(Self::Vmem),
            _ => Err(CommandError::new(format!("instead={name}: neither free-list nor vmem"))),
        }
    }
}

/// The name and the number of a word `name=value`. The error names the word that is wrong.
pub(super) fn assignment(word: &str) -> Result<(&str, u64), CommandError> {
    let (name, value) = word
        .split_once('=')
        .ok_or_else(|| CommandError::new(format!("{word}: not of the form name=value")))?;
    let value = number(value).ok_or_else(|| CommandError::new(format!("{word}: not a number")))?;
    Ok((name, value))
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
