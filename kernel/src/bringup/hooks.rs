//! Who calls whom upward: each hook, and the function of a higher room that stands in it.

use crate::{arch, drivers::serial, memory, services, sync::order, threads};
use core::fmt;

/// Installs all hooks. Called once, before anything else of the boot sequence that may be reported or interrupted. What
/// stands in them may be called from the beginning: before there are threads nobody is switched to, and nobody waits.
pub(super) fn install() {
    order::REPORT.install(Some(serial::REPORTER));
    arch::hooks::PREEMPT.install(threads::preempt);
    arch::hooks::TIMER.install(threads::on_timer);
    arch::hooks::THREAD_NAME.install(thread_name);
    arch::hooks::ADDRESS.install(memory::describe_address);
    memory::hooks::PAUSE.install(threads::try_sleep);
    memory::hooks::SYNCHRONIZE.install(threads::grace::try_synchronize);
    memory::hooks::PURGE.install(services::purger::wake);
    threads::hooks::TICK.install(services::rcu::on_tick);
}

fn thread_name(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt::Display::fmt(&threads::current_name(), f)
}
