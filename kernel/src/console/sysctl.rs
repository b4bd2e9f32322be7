//! Tunables: listed, read and set while the kernel runs, or set at boot as kernel parameters.

use crate::{
    arch::cpu::sections,
    command::CommandError,
    memory::{self, purge_wish},
    println,
    sync::stat,
};
use alloc::format;
use core::{
    ops::RangeInclusive,
    sync::atomic::{AtomicUsize, Ordering},
};
use vmalloc::Reuse;

struct Tunable {
    name: &'static str,
    about: &'static str,
    range: RangeInclusive<usize>,
    value: Value,
}

/// Where a tunable is.
enum Value {
    Cell(fn() -> &'static AtomicUsize),
    /// How it is read, and set: `false` if there is too little memory for that.
    Calls(fn() -> usize, fn(usize) -> bool),
}

const TUNABLES: &[Tunable] = &[
    Tunable {
        name: "lock.stat",
        about: "1: locks and waits for them are counted by class, for lockinfo",
        range: 0..=1,
        value: Value::Cell(stat::switch),
    },
    Tunable {
        name: "preempt.meter",
        about: "1: how long preemption and interrupts are off is measured, for latency",
        range: 0..=1,
        value: Value::Cell(sections::switch),
    },
    Tunable {
        name: "tlb.single_page_flush_ceiling",
        about: "pages flushed one by one; more are flushed all at once",
        range: 0..=512,
        value: Value::Cell(|| &memory::vmalloc().tunables().single_page_flush_ceiling),
    },
    Tunable {
        name: "vmalloc.check_slack",
        about: "1: writes behind the bytes that were asked for are looked for when an area is freed",
        range: 0..=1,
        value: Value::Calls(
            || usize::from(memory::vmalloc().checks_slack()),
            |on| {
                memory::vmalloc().set_check_slack(on == 1);
                true
            },
        ),
    },
    Tunable {
        name: "vmalloc.drain",
        about: "1: a thread purges; 0: whoever frees too much does",
        range: 0..=1,
        value: Value::Cell(|| purge_wish::KERNEL.drain()),
    },
    Tunable {
        name: "vmalloc.lazy_max_pages",
        about: "pages that wait for a flush before a purge is due; 0: 32 MiB, and more with more CPUs",
        range: 0..=1 << 33,
        value: Value::Cell(|| &memory::vmalloc().tunables().lazy_max_pages),
    },
    Tunable {
        name: "vmalloc.purge_priority",
        about: "times lazy_max_pages, above which who frees purges, or waits for a purge",
        range: 1..=1000,
        value: Value::Cell(|| &memory::vmalloc().tunables().purge_priority),
    },
    Tunable {
        name: "vmalloc.quarantine_pages",
        about: "pages that are freed before a freed one is used again, so that pointers to it fault",
        range: 0..=1 << 33,
        value: Value::Calls(
            || memory::vmalloc().quarantine(),
            |pages| {
                memory::vmalloc().set_quarantine(pages);
                true
            },
        ),
    },
    Tunable {
        name: "vmalloc.remember",
        about: "frees that are remembered, in frames of 64, for whatis and for reports",
        range: 0..=32768,
        value: Value::Calls(
            || memory::vmalloc().remembered(),
            |count| memory::vmalloc().set_remembered(count),
        ),
    },
    Tunable {
        name: "vmalloc.reuse",
        about: "1: a freed area is used again at once where it needs no flush; 0: after a flush",
        range: 0..=1,
        value: Value::Calls(
            || usize::from(memory::vmalloc().reuse() == Reuse::Hot),
            |hot| {
                memory::vmalloc().set_reuse(if hot == 1 { Reuse::Hot } else { Reuse::AfterFlush });
                true
            },
        ),
    },
    Tunable {
        name: "vmalloc.table_reserve",
        about: "clean leaf tables that each CPU keeps",
        range: 0..=16,
        value: Value::Cell(|| &memory::vmalloc().tunables().table_reserve),
    },
];

pub(super) fn command(arguments: &[&str]) -> Result<(), CommandError> {
    if arguments.is_empty() {
        for tunable in TUNABLES {
            println!("{} = {:<6} # {}", tunable.name, tunable.value(), tunable.about);
        }
    }
    for argument in arguments {
        if argument.contains('=') {
            assign(argument)?;
        } else {
            let tunable = find(argument)?;
            println!("{} = {}", tunable.name, tunable.value());
        }
    }
    Ok(())
}

/// Carries out one `NAME=VALUE`.
///
/// # Errors
/// The line names the tunable or the value that is wrong; nothing has changed.
pub fn assign(assignment: &str) -> Result<(), CommandError> {
    let Some((name, value)) = assignment.split_once('=') else {
        return Err(CommandError::new(format!("{assignment}: not of the form NAME=VALUE")));
    };
    let tunable = find(name)?;
    let range = &tunable.range;
    match value.parse() {
        Ok(number) if range.contains(&number) => {
            match tunable.value {
                Value::Cell(cell) => cell().store(number, Ordering::Relaxed),
                Value::Calls(_, set) if set(number) => {}
                Value::Calls(..) => {
                    return Err(CommandError::new(format!("{assignment}: too little memory")));
                }
            }
            Ok(())
        }
        _ => {
            let (least, most) = (range.start(), range.end());
            Err(CommandError::new(format!("{assignment}: not a number from {least} to {most}")))
        }
    }
}

fn find(name: &str) -> Result<&'static Tunable, CommandError> {
    let found = TUNABLES.iter().find(|tunable| tunable.name == name);
    found.ok_or_else(|| CommandError::unknown("tunable", name, names()))
}

/// The names of all tunables.
pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
    TUNABLES.iter().map(|tunable| tunable.name)
}

impl Tunable {
    fn value(&self) -> usize {
        match self.value {
            Value::Cell(cell) => cell().load(Ordering::Relaxed),
            Value::Calls(get, _) => get(),
        }
    }
}
