//! `lockinfo`: which locks are waited for, and how long.

use crate::{
    command::CommandError,
    println,
    sync::stat::{self, Counted},
};
use alloc::{format, string::String, vec::Vec};
use core::{cmp::Reverse, sync::atomic::Ordering};

pub(in crate::console) const ABOUT: &str = "counts locks by class while sysctl lock.stat is 1; reset sets the counts to zero\n\
    taken         times that one was taken *\n\
    waits         times that somebody had to wait for one\n\
    waited        all that waiting, in cycles of the time stamp counter, as all times here\n\
    longest wait  the longest of it\n\
    longest hold  the longest time that one was held, interrupts meanwhile included *\n\
    * In debug builds, and in those with the feature lock-stat: others would pay for it with every lock.\n\
    On a computer with fewer CPUs than the machine has, waits include times in which the holder did not run.";

/// The console command.
///
/// # Errors
/// The line names the argument that is wrong.
pub fn lockinfo(arguments: &[&str]) -> Result<(), CommandError> {
    match arguments {
        [] => print_counts(),
        ["reset"] => stat::reset(),
        [other, ..] => return Err(CommandError::new(format!("{other}: neither nothing nor reset"))),
    }
    Ok(())
}

fn print_counts() {
    if stat::switch().load(Ordering::Relaxed) == 0 {
        println!("nothing is counted now: sysctl lock.stat=1");
    }
    let mut counted: Vec<Counted> =
        stat::counted().filter(|counted| counted.taken > 0 || counted.waits > 0).collect();
    counted.sort_unstable_by_key(|counted| Reverse((counted.waited, counted.taken)));
    println!(
        "{:22} {:>12} {:>10} {:>15} {:>13} {:>13}",
        "lock", "taken", "waits", "waited", "longest wait", "longest hold"
    );
    let followed = |count: u64| if stat::FOLLOWED { format!("{count}") } else { String::from("-") };
    for Counted { name, taken, waits, waited, longest_wait, longest_hold } in counted {
        let (taken, longest_hold) = (followed(taken), followed(longest_hold));
        println!("{name:22} {taken:>12} {waits:>10} {waited:>15} {longest_wait:>13} {longest_hold:>13}");
    }
}
