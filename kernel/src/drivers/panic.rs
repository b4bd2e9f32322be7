//! The end of a kernel whose invariants are broken: a report, and a failing exit.

use super::{backtrace, power, serial};
use crate::{
    arch::{
        cpu,
        interrupts::stop::{self, Stopped},
        tlb,
    },
    println,
    trace::stream,
};
use core::{
    panic::PanicInfo,
    sync::atomic::{AtomicBool, Ordering},
};
use protocol::{Exit, Record};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    x86_64::instructions::interrupts::disable();
    stop::be_the_last();
    if PANICKED.swap(true, Ordering::Relaxed) {
        // The report itself panicked: what it printed so far must do.
        power::exit(Exit::Panic);
    }
    stop::stop_others();
    // A CPU that was idle was not interrupted for what is read here.
    tlb::forget();
    let this = cpu::current();
    // SAFETY: interrupts are off, and the other CPUs have stopped.
    unsafe { serial::force_unlock() };
    serial::write_record(Record::Panic);
    match info.location() {
        Some(location) => println!("panic on CPU {this} at {location}:\n{}", info.message()),
        None => println!("panic on CPU {this}:\n{}", info.message()),
    }
    println!("the CPUs were at");
    backtrace::print(this, stop::noted().unwrap_or_else(Stopped::here));
    stop::stopped().for_each(|(cpu, place)| backtrace::print(cpu, place));
    // SAFETY: as above.
    if let Some(events) = unsafe { stream::close_by_force() } {
        println!(
            "trace stream: this came while it was sent: its last {events} events may be missing, and its end is"
        );
    }
    power::exit(Exit::Panic);
}
