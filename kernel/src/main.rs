//! The kernel that boots to its console.
#![no_std]
#![no_main]
#![cfg_attr(test, feature(custom_test_frameworks))]
#![cfg_attr(test, test_runner(kernel::testing::run), reexport_test_harness_main = "run_tests")]

#[cfg(not(test))]
kernel::entry!(kernel::console::run);

#[cfg(test)]
kernel::entry!(test_main);

#[cfg(test)]
fn test_main() -> ! {
    run_tests();
    unreachable!("the test runner ends the machine");
}
