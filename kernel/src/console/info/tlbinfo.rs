//! `tlbinfo`: what CPUs flushed, and what they were spared.

use crate::{
    arch::{
        cpu,
        tlb::{self, invlpgb},
    },
    command::CommandError,
    println,
};
use alloc::format;
use core::sync::atomic::{AtomicU64, Ordering};
use vmalloc::Counters;

pub(in crate::console) const ABOUT: &str = "counts flushes for each CPU, and interrupts for them; reset sets the counts to zero\n\
    full     flushes of everything that is not global\n\
    pages    pages flushed one by one\n\
    sent     interrupts this CPU sent to make others flush\n\
    received interrupts others sent it\n\
    elided   times it was not interrupted because it had flushed since\n\
    idle     times it was not interrupted because it was idle\n\
    spared   times it was left alone because it is isolated\n\
    forced   times it was interrupted although it is isolated\n\
    broadcasts  flushes of all CPUs at once, if the CPUs can do that: then none is interrupted";

/// Which of a CPU's counts.
type Count = fn(&Counters) -> &AtomicU64;

/// Shown for all CPUs together.
const BROADCASTS: Count = |counters| &counters.broadcasts;

/// The columns.
const COUNTS: [(&str, Count); 8] = [
    ("full", |counters| &counters.full),
    ("pages", |counters| &counters.pages),
    ("sent", |counters| &counters.sent),
    ("received", |counters| &counters.received),
    ("elided", |counters| &counters.elided),
    ("idle", |counters| &counters.idle),
    ("spared", |counters| &counters.spared),
    ("forced", |counters| &counters.forced),
];

pub(in crate::console) fn tlbinfo(arguments: &[&str]) -> Result<(), CommandError> {
    match arguments {
        [] => print_counts(),
        ["reset"] => each_counter(|counter| counter.store(0, Ordering::Relaxed)),
        [other, ..] => return Err(CommandError::new(format!("{other}: neither nothing nor reset"))),
    }
    Ok(())
}

fn print_counts() {
    let titles = COUNTS.map(|(title, _)| format!("{title:>9}")).concat();
    println!("      {titles}");
    for number in cpu::online().iter() {
        let counters = tlb::counters(number);
        let counts = COUNTS.map(|(_, of)| format!("{:>9}", of(counters).load(Ordering::Relaxed))).concat();
        println!("CPU {number:<2}{counts}");
    }
    match invlpgb::most_pages() {
        Some(_) => println!("broadcasts: {}", tlb::total(BROADCASTS)),
        None => println!("broadcasts: none, the CPUs have no INVLPGB"),
    }
}

fn each_counter(change: impl Fn(&AtomicU64)) {
    for number in cpu::online().iter() {
        let counters = tlb::counters(number);
        COUNTS.iter().for_each(|(_, of)| change(of(counters)));
        change(BROADCASTS(counters));
    }
}
