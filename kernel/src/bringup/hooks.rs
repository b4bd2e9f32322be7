//! Who calls whom upward: the hooks of each room, and the functions of higher rooms that stand in them.

use crate::{
    arch::hooks::{self, ArchHooks},
    drivers::serial,
    memory::{
        self,
        hooks::{self as memory_hooks, MemoryHooks},
    },
    services::{purger, rcu},
    sync::order,
    threads::{
        self, grace,
        hooks::{self as threads_hooks, ThreadsHooks},
    },
};
use core::fmt;

/// Installs all hooks. Called once, before anything else of the boot sequence that may be reported or interrupted. What
/// stands in them may be called from the beginning: before there are threads nobody is switched to, and nobody waits.
pub(super) fn install() {
    order::REPORT.install(&serial::REPORTER);
    hooks::HOOKS.install(&ArchHooks {
        preempt: threads::preempt,
        timer: threads::on_timer,
        thread_name,
        address: memory::describe_address,
    });
    memory_hooks::HOOKS.install(&MemoryHooks {
        pause: threads::try_sleep,
        synchronize: grace::try_synchronize,
        purge: purger::wake,
        thread_tag: threads::current_tag,
        thread_id: threads::current_id,
    });
    threads_hooks::HOOKS.install(&ThreadsHooks { tick });
}

fn tick(cpu: usize) {
    memory::set_clock(cpu);
    rcu::on_tick(cpu);
}

fn thread_name(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt::Display::fmt(&threads::current_name(), f)
}
