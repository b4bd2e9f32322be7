//! The kernel's test framework: the harness of `custom_test_frameworks` calls [`run`].
//!
//! Each test is announced before it runs. After it, frames, address space, and the heap must be as before. An exception
//! that nobody expects is a panic, and so a failure. Called by test kernels, in the thread `main`; no lock is taken here.

use crate::{
    balance::{self, Balance},
    drivers::{fw_cfg, power, serial},
    print, println,
};
use alloc::string::String;
use core::any;
use protocol::{Exit, Record};

/// A test: a function without arguments that panics when it fails.
pub trait Test {
    /// Path of the function.
    fn name(&self) -> &'static str;
    /// Runs the test.
    fn run(&self);
}

impl<F: Fn()> Test for F {
    fn name(&self) -> &'static str {
        // The crate's name says nothing: the runner names the test kernel.
        let path = any::type_name::<F>();
        path.split_once("::").map_or(path, |(_, path)| path)
    }

    fn run(&self) {
        self();
    }
}

/// Runs the tests that the host's filter lets through, and ends the machine. A test that fails
/// panics, and so ends the machine too: the host runner counts it.
pub fn run(tests: &[&dyn Test]) -> ! {
    let filter = filter();
    let chosen = || tests.iter().filter(|test| test.name().contains(&*filter));
    serial::write_record(Record::Tests { count: chosen().count() });
    if let Err(error) = balance::make_what_stays() {
        panic!("too little memory for what stays: {error}");
    }
    let mut passed = 0;
    for test in chosen() {
        announce(test.name());
        run_balanced(*test);
        println!("ok");
        serial::write_record(Record::Passed);
        passed += 1;
    }
    serial::write_record(Record::TestsDone { passed });
    power::exit(Exit::Success);
}

/// Runs a test, announced or not.
///
/// # Panics
/// If the test does, and if it leaves anything behind: frames, areas, bytes of the heap, threads, pins, or reports of
/// locks taken in a wrong order.
pub fn run_balanced(test: &dyn Test) {
    let before = Balance::now();
    test.run();
    assert_eq!(Balance::now(), before, "{} left something behind", test.name());
}

/// Announces the only test of a kernel that must end in a panic whose report contains `text`. The
/// host runner prints the verdict. Ends the machine at once if the filter does not let the test through.
pub fn expect_panic(name: &str, text: &str) {
    if !name.contains(&*filter()) {
        serial::write_record(Record::Tests { count: 0 });
        serial::write_record(Record::TestsDone { passed: 0 });
        power::exit(Exit::Success);
    }
    serial::write_record(Record::Tests { count: 1 });
    serial::write_record(Record::Test { name });
    println!("test {name} ... must panic");
    serial::write_record(Record::ExpectPanic { text });
}

fn filter() -> String {
    fw_cfg::read(protocol::FW_CFG_FILTER).unwrap_or_default()
}

fn announce(name: &str) {
    serial::write_record(Record::Test { name });
    print!("test {name} ... ");
}
