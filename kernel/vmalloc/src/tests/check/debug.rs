//! What debug builds assert of the machine in each call.

extern crate std;

use super::wrong::{Bug, Wrong};
use crate::{
    BLOCK_SIZE, PAGE_SIZE, Protection, Request, Vmalloc,
    tests::{
        machine::Machine,
        support::{START, take},
    },
};
use std::boxed::Box;

/// An instance on the second of two CPUs, which stays: who unwinds drops it else.
fn instance(bug: Bug) -> &'static Vmalloc<Wrong<'static>> {
    let machine: &'static Machine = Box::leak(Box::new(Machine::new(2, 2000)));
    let wrong = Wrong::new(machine, bug);
    machine.run_on(1);
    // SAFETY: nothing else is there.
    let vmalloc = unsafe { Vmalloc::new(wrong, START..START + 8 * BLOCK_SIZE) };
    Box::leak(Box::new(vmalloc.expect("enough")))
}

/// Seen failing without the assertion.
#[test]
#[should_panic(expected = "CPU 1 uses an instance before Shootdown::set_online")]
fn a_cpu_that_is_not_online_may_not_allocate() {
    let _ = instance(Bug::OnlyTheFirstOnline).vmalloc(1);
}

#[test]
#[should_panic(expected = "CPU 1 uses an instance before Shootdown::set_online")]
fn a_cpu_that_is_not_online_may_not_map() {
    let vmalloc = instance(Bug::OnlyTheFirstOnline);
    let _ = vmalloc.vm_map_ram(&take(vmalloc.platform().machine, 1), Protection::ReadWrite);
}

#[test]
#[should_panic(expected = "CPU 1 uses an instance before Shootdown::set_online")]
fn a_cpu_that_is_not_online_may_not_purge() {
    instance(Bug::OnlyTheFirstOnline).purge();
}

#[test]
#[should_panic(expected = "pin().cpu() and here() differ")]
fn a_pin_that_names_another_cpu_is_found_by_the_first_call() {
    let _ = instance(Bug::PinAlwaysZero).vmalloc(1);
}

#[test]
#[should_panic(expected = "is not full of zeros (promise 3 of Platform)")]
fn a_table_that_is_not_zeroed_is_found_when_it_is_taken() {
    let _ = instance(Bug::TablesNotZeroed).vmalloc(1);
}

#[test]
#[should_panic(expected = "take_frames counts otherwise than the frames that it gives")]
fn a_wrong_count_of_frames_is_found_when_they_are_taken() {
    let _ = instance(Bug::CountTooHigh).allocate(Request::new(3 * PAGE_SIZE));
}
