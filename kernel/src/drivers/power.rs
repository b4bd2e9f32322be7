//! Ending the machine.
//!
//! Ports that only QEMU has (fw_cfg, the exit device) are written only where a hypervisor is announced, because nobody
//! knows what a real machine has there.

use super::{serial, soft_off::SoftOff};
use crate::{
    arch::{cpu, interrupts::stop, tsc},
    println,
    sync::Once,
    trace,
};
use protocol::{EXIT_PORT, Exit, Record};
use x86_64::{
    VirtAddr,
    instructions::{interrupts, port::Port, tables},
    structures::DescriptorTablePointer,
};

/// Microseconds that a way to reset the machine is given before the next is tried.
const RESET_TIME: u64 = 50_000;

/// The port and the value by which the firmware says that the machine is reset.
static RESET: Once<(u16, u8)> = Once::new();
static OFF: Once<SoftOff> = Once::new();

/// Tells what the firmware says of resetting the machine, and of switching it off.
pub(crate) fn init(reset: Option<(u16, u8)>, off: Option<SoftOff>) {
    if let Some(reset) = reset {
        RESET.call_once(|| reset);
    }
    if let Some(off) = off {
        OFF.call_once(|| off);
    }
}

/// Ends the machine and tells the host why, by QEMU's exit device. Without that, and on a machine that is not
/// virtual, stops all CPUs, and switches the machine off if nothing is wrong with it. If it stays on, says so. Does not
/// end the machine where another CPU does already.
pub fn exit(why: Exit) -> ! {
    // Nothing that is traced later has a reader. A panic has closed it.
    if why != Exit::Panic {
        trace::stream::close();
    }
    interrupts::disable();
    stop::be_the_last();
    // Of a real machine's ports nobody knows which device may be there.
    if cpu::is_virtual() {
        // SAFETY: the port is that of QEMU's exit device, or of none.
        unsafe { Port::new(EXIT_PORT).write(why as u32) };
    }
    stop::stop_others();
    // SAFETY: interrupts are off, and the other CPUs have stopped.
    unsafe { serial::force_unlock() };
    if let (Exit::Success | Exit::Failure, Some(off)) = (why, OFF.get()) {
        serial::write_record(Record::PowerOff { status: why.qemu_status() });
        off.enter();
    }
    println!("stopped ({why:?}): the machine can be switched off");
    cpu::halt();
}

/// Resets the machine: as the firmware says, else by the keyboard controller, else by an exception that cannot
/// be handled.
pub fn reboot() -> ! {
    trace::stream::close();
    serial::write_record(Record::Reboot);
    interrupts::disable();
    if let Some(&(port, value)) = RESET.get() {
        // SAFETY: the firmware says that this resets the machine; nothing runs after it.
        unsafe { Port::<u8>::new(port).write(value) };
        tsc::spin_until(RESET_TIME, || false);
    }
    // SAFETY: pulses the reset line of the CPUs; nothing runs after it.
    unsafe { Port::<u8>::new(0x64).write(0xfe) };
    tsc::spin_until(RESET_TIME, || false);
    // SAFETY: no handler, not even of the double fault that follows: the CPU shuts down, which resets a PC
    // (Intel SDM 3A, section 7.15, interrupt 8).
    unsafe { tables::lidt(&DescriptorTablePointer { limit: 0, base: VirtAddr::zero() }) };
    interrupts::int3();
    cpu::halt();
}
