//! What a CPU does at each interrupt of its timer.

use super::{profile, sleep, timer};
use crate::{
    arch::{
        cpu::{self, sections},
        tsc,
    },
    threads::{
        hooks,
        scheduler::{passes, run_queue, thread},
    },
};
use core::sync::atomic::Ordering;
use handover::Class;

/// Called on every interrupt of a CPU's timer, which interrupted the code at `place`, with interrupts off and pinned.
pub(crate) fn on_timer(place: u64) {
    let Some(this) = thread::try_current() else { return };
    let (cpu, now) = (cpu::current(), tsc::now());
    profile::on_timer(cpu, now, place, this.class != Class::Idle);
    sleep::wake_until(cpu, now);
    if timer::take_tick(cpu, now) {
        on_tick(cpu, this);
    }
    timer::set(cpu);
}

fn on_tick(cpu: usize, this: thread::ThreadRef) {
    sections::follow_switch();
    // The one pin is the interrupt's.
    if cpu::pins() == 1 {
        passes::of(cpu).pass();
    }
    (hooks::HOOKS.get().tick)(cpu);
    if this.class == Class::Normal {
        let left = this.slice.load(Ordering::Relaxed).saturating_sub(1);
        this.slice.store(left, Ordering::Relaxed);
        if left == 0 && run_queue::of(cpu).ready() > 0 {
            cpu::want_switch();
        }
    }
}
