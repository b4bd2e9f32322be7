//! The end of a kernel whose invariants are broken: a report, and a failing exit.

use crate::{
    arch::{cpu, smp},
    drivers::{power, serial},
    println,
};
use core::{
    panic::PanicInfo,
    sync::atomic::{AtomicUsize, Ordering},
};
use protocol::{Exit, Record};

/// No CPU's number.
const NOBODY: usize = usize::MAX;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static PANICKED: AtomicUsize = AtomicUsize::new(NOBODY);
    x86_64::instructions::interrupts::disable();
    let this = cpu::current();
    match PANICKED.compare_exchange(NOBODY, this, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => smp::stop_others(),
        // The report itself panicked: what it printed so far must do.
        Err(first) if first == this => power::exit(Exit::Panic),
        Err(_) => smp::stop_this(),
    }
    // SAFETY: interrupts are off, and the other CPUs have stopped.
    unsafe { serial::force_unlock() };
    serial::write_record(Record::Panic);
    match info.location() {
        Some(location) => println!("panic on CPU {this} at {location}:\n{}", info.message()),
        None => println!("panic on CPU {this}:\n{}", info.message()),
    }
    power::exit(Exit::Panic);
}
