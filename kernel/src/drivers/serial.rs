//! The first serial port: the console, and the line to the host runner.

use crate::sync::{Class, IrqLock};
use core::fmt::{self, Write};
use protocol::Record;
use uart_16550::{Config, Uart16550, backend::PioBackend};

const COM1: u16 = 0x3f8;

/// The port, and whether the last byte sent ended a line.
pub struct Serial {
    uart: Uart16550<PioBackend>,
    at_line_start: bool,
}

/// Taken last of all locks: anybody may print.
pub(crate) static CLASS: Class = Class::new("serial line");

static SERIAL: IrqLock<Option<Serial>> = IrqLock::new(&CLASS, None);

impl Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Some(&last) = text.as_bytes().last() {
            self.uart.send_bytes_exact(text.as_bytes());
            self.at_line_start = last == b'\n';
        }
        Ok(())
    }
}

/// Sets up the port. Without one the kernel is mute.
pub fn init() {
    // SAFETY: COM1 on every PC; nothing else of the kernel uses these ports.
    let Ok(mut uart) = (unsafe { Uart16550::new_port(COM1) }) else { return };
    if uart.init(Config::default()).is_ok() {
        *SERIAL.lock() = Some(Serial { uart, at_line_start: true });
    }
}

/// Writes text. Lines end with a newline alone; a terminal in raw mode wants its host to add the
/// carriage return.
pub fn write(text: fmt::Arguments<'_>) {
    if let Some(serial) = &mut *SERIAL.lock() {
        let _cannot_fail = serial.write_fmt(text);
    }
}

/// Writes a record for the host runner, on a line of its own.
pub fn write_record(record: Record<'_>) {
    if let Some(serial) = &mut *SERIAL.lock() {
        let before = if serial.at_line_start { "" } else { "\n" };
        let _cannot_fail = writeln!(serial, "{before}{record}");
    }
}

/// The next byte received, if there is one.
pub fn try_read() -> Option<u8> {
    SERIAL.lock().as_mut()?.uart.try_receive_byte().ok()
}

/// For a panic: takes the port from whoever holds it.
///
/// # Safety
/// Only the caller goes on; every other user of the port is stopped for good.
pub unsafe fn force_unlock() {
    // SAFETY: promised by the caller.
    unsafe { SERIAL.force_unlock() };
}

/// Writes formatted text to the serial line.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::drivers::serial::write(format_args!($($argument)*)) };
}

/// Writes formatted text and a newline to the serial line.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($argument:tt)*) => { $crate::drivers::serial::write(format_args!("{}\n", format_args!($($argument)*))) };
}
