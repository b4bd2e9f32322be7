//! Hooks that a second room believes to be its own end the machine, and the report names them. Seen failing without the
//! assertion in `Hooks::install`.
#![no_std]
#![no_main]

use kernel::arch::hook::Hooks;

protocol::test_kernel!("hooks_that_are_installed_twice_are_named");
kernel::entry!(main);

static HOOKS: Hooks<u32> = Hooks::new("the test", &0);

fn main() -> ! {
    assert_eq!(*HOOKS.get(), 0, "nobody has installed any");
    HOOKS.install(&1);
    assert_eq!(*HOOKS.get(), 1);
    kernel::testing::expect_panic(TEST, "the hooks of the test were installed twice");
    HOOKS.install(&2);
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
