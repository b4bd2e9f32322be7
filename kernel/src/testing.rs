//! The kernel's test framework: the harness of `custom_test_frameworks` calls [`run`].
//!
//! Each test is announced before it runs. After it, frames, address space, and the heap must be as before. An exception
//! that nobody expects is a panic, and so a failure. Called by test kernels, in the thread `main`; no lock is taken here.

use crate::{
    arch::cpu,
    drivers::{fw_cfg, power, serial},
    memory::{self, frames, heap, percpu},
    print, println, services,
    sync::order,
    threads, trace,
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

/// What must be the same before and after a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Balance {
    /// Frames that nobody accounts for: none, but those of instances that a test made.
    lost_frames: u64,
    /// Frames of areas, but for the heap's.
    area_frames: u64,
    /// Areas, but for the heap's.
    areas: usize,
    /// Bytes of the heap that are in use.
    heap_bytes: usize,
    pins: u32,
    /// Threads that were spawned, and live.
    threads: usize,
    /// Pairs of locks that were reported.
    lock_reports: usize,
}

impl Balance {
    fn now() -> Self {
        let vmalloc = memory::vmalloc();
        services::deferred::barrier();
        services::rcu::vfree_rcu_barrier();
        threads::settle();
        percpu::trim();
        vmalloc.trim();
        frames::drain_magazines();
        let (counts, users, heap) = (frames::counts(), services::users(), heap::usage());
        let accounted = users.all();
        Self {
            lost_frames: counts.total - counts.free - accounted,
            area_frames: users.areas,
            areas: vmalloc.areas().count() - heap.areas(),
            heap_bytes: heap.used,
            pins: cpu::pins(),
            threads: threads::living(),
            lock_reports: order::reports(),
        }
    }
}

/// Runs the tests that the host's filter lets through, and ends the machine. A test that fails
/// panics, and so ends the machine too: the host runner counts it.
pub fn run(tests: &[&dyn Test]) -> ! {
    let filter = filter();
    let chosen = || tests.iter().filter(|test| test.name().contains(&*filter));
    serial::write_record(Record::Tests { count: chosen().count() });
    make_what_stays();
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

/// Makes what is made when it is first used and stays: no test that happens to be first leaks it.
fn make_what_stays() {
    if let Err(error) = trace::make_rings() {
        panic!("no memory for the rings of trace points: {error}");
    }
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
