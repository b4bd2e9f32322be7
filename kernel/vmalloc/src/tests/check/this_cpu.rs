//! The CPU that runs the tests, as far as a program of the host may ask it. Its registers are the host kernel's.

use crate::check::{Cpu, ThisCpu};

#[test]
fn it_reads_what_is_at_an_address() {
    let word = 0x1234_5678_9abc_def0_u64;
    // SAFETY: the word is there, and aligned.
    assert_eq!(unsafe { ThisCpu.read(&raw const word as usize) }, Some(word));
}

/// A look at whether another CPU has answered takes 40 ns or more.
#[test]
fn it_has_the_direct_map_and_waits_ten_seconds_for_another_cpu() {
    assert!(ThisCpu.has_direct_map());
    assert!(ThisCpu.patience() * 40 >= 10_000_000_000);
}
