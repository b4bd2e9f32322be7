//! A hook that a second room believes to be its own ends the machine, and the report names the hook.
#![no_std]
#![no_main]

use kernel::arch::hook::Hook;

protocol::test_kernel!("a_hook_that_is_installed_twice_is_named");
kernel::entry!(main);

static HOOK: Hook<fn() -> u32> = Hook::new("of the test", || 0);

fn main() -> ! {
    assert_eq!(HOOK.get()(), 0, "nobody has installed it");
    HOOK.install(|| 1);
    assert_eq!(HOOK.get()(), 1);
    kernel::testing::expect_panic(TEST, "the hook of the test was installed twice");
    HOOK.install(|| 2);
    kernel::drivers::power::exit(protocol::Exit::Failure);
}
