//! A CPU that answers late, as a virtual one does whose host runs others meanwhile.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};
use kernel::{
    arch::{
        apic::Vector,
        cpu::{self, interrupt_flag},
        interrupts, tsc,
    },
    services::{Experiment, flushing},
    threads::{self, Builder},
};
use vmalloc::PAGE_SIZE;

/// Seen failing with a wait that spins all the time, and with nobody told that the flush was made.
#[test_case]
fn who_waits_long_for_a_flush_stands_still_until_it_was_made() {
    let mut cpus = cpu::online().without(cpu::isolated()).iter();
    let (Some(here), Some(other)) = (cpus.next(), cpus.next()) else { return };
    let deaf = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&deaf);
    let late = Builder::new("test").on_cpu(other).spawn(move || {
        interrupt_flag::without_interrupts(|| {
            seen.store(true, Ordering::Release);
            tsc::spin_until(50_000, || false);
        });
    });
    let told = Builder::new("test").on_cpu(here).spawn(move || {
        let instance = Experiment::new(1, flushing()).expect("frames");
        let area = instance.vmalloc(PAGE_SIZE).expect("room");
        while !deaf.load(Ordering::Acquire) {
            threads::yield_now();
        }
        let before = interrupts::handled(here, Vector::Flushed);
        // SAFETY: nobody uses it.
        unsafe { instance.vfree(area) }.expect("allocated");
        instance.purge();
        interrupts::handled(here, Vector::Flushed) - before
    });
    assert!(told.expect("memory").join() > 0, "it was not told, or did not wait");
    late.expect("memory").join();
}
