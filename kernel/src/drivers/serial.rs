//! The first serial port: the console, and the line to the host runner. 115200 baud, 8 bits, no parity.
//!
//! Who writes puts the whole text into a queue at once, so texts of several CPUs do not mix; then sends from
//! the queue until its own text is out, as many bytes at a time as the transmitter has room for. Between
//! those interrupts are as the writer had them: a hundred characters take 9 ms on a wire.
//!
//! The wire may wait for who reads it (a terminal that was stopped), and so may a writer, without bound.

use super::{filter::Filter, screen};
use crate::sync::{Class, IrqLock, order::Reporter};
use bootloader_api::info::FrameBuffer;
use core::{
    fmt::{self, Write},
    hint,
};
use heapless::Deque;
use protocol::Record;
use uart_16550::{
    BaudRate, Config, InitError, Uart16550,
    backend::{Backend, PioBackend},
    spec::{FIFO_SIZE, registers::LSR},
};

const COM1: u16 = 0x3f8;
/// Looks at a port that is to empty its transmitter before it is used: longer than what the firmware may
/// have left there takes at the slowest rate in use.
const PATIENCE: usize = 1 << 17;
/// Bytes that may wait to be sent. Who has more sends in between, with interrupts off.
const QUEUE: usize = 4096;

/// Taken last of all locks: anybody may print.
static CLASS: Class = Class::new("serial line");

static PORT: Port<PioBackend> = Port::new();

/// A serial port that any CPU may write to at any time; before it has a device, writes are lost.
pub struct Port<B: Backend> {
    line: IrqLock<Option<Line<B>>>,
}

/// A device, and what is to be sent to it.
struct Line<B: Backend> {
    uart: Uart16550<B>,
    queue: Deque<u8, QUEUE>,
    /// Bytes sent, since boot.
    sent: u64,
    /// Whether the last byte put into the queue ended a line.
    at_line_start: bool,
    /// Text that is not a record's goes through it.
    filter: Option<Filter>,
}

impl<B: Backend> Port<B> {
    /// A port without a device.
    #[expect(clippy::new_without_default, reason = "a default would not be const")]
    pub const fn new() -> Self {
        Self { line: IrqLock::new(&CLASS, None) }
    }

    /// Sets the device up and writes to it from now on.
    ///
    /// # Errors
    /// Nothing answers there as such a device does.
    pub fn connect(&self, mut uart: Uart16550<B>) -> Result<(), InitError> {
        // The library waits for the transmitter for ever.
        let is_there = uart.check_present();
        let is_empty = |_| uart.lsr().contains(LSR::TRANSMITTER_EMPTY);
        if !is_there || !(0..PATIENCE).any(is_empty) {
            return Err(InitError::DeviceNotPresent);
        }
        uart.init(Config { baud_rate: BaudRate::Baud115200, ..Config::DEFAULT })?;
        *self.line.lock() =
            Some(Line { uart, queue: Deque::new(), sent: 0, at_line_start: true, filter: None });
        Ok(())
    }

    /// Writes text.
    pub fn write(&self, text: fmt::Arguments<'_>) {
        self.put(|line| line.write_fmt(text));
    }

    /// Writes a record, on a line of its own.
    pub fn write_record(&self, record: Record<'_>) {
        self.put(|line| {
            let filter = line.filter.take();
            let before = if line.at_line_start { "" } else { "\n" };
            let written = writeln!(line, "{before}{record}");
            line.filter = filter;
            written
        });
    }

    /// Lets only those lines of text through from now on that contain a text; all of them if that is `None`. `false`: the
    /// text is too long.
    fn set_filter(&self, text: Option<&str>) -> bool {
        let filter = text.map(Filter::new);
        let is_short = !matches!(filter, Some(None));
        if is_short {
            self.with(|line| line.filter = filter.flatten());
        }
        is_short
    }

    /// Puts something into the queue and waits until it is sent.
    fn put(&self, put: impl FnOnce(&mut Line<B>) -> fmt::Result) {
        let end = self.with(|line| {
            let _cannot_fail = put(line);
            line.sent + line.queue.len() as u64
        });
        let Some(end) = end else { return };
        while self.with(|line| line.send() || line.sent >= end) == Some(false) {
            hint::spin_loop();
        }
    }

    /// The next byte received, if there is one.
    fn try_read(&self) -> Option<u8> {
        self.with(|line| line.uart.try_receive_byte().ok()).flatten()
    }

    /// Does something with the line, if there is one, while nobody else has it.
    fn with<R>(&self, action: impl FnOnce(&mut Line<B>) -> R) -> Option<R> {
        self.line.lock().as_mut().map(action)
    }
}

impl<B: Backend> Line<B> {
    fn push(&mut self, byte: u8) {
        while self.queue.push_back(byte).is_err() {
            self.send();
        }
        self.at_line_start = byte == b'\n';
    }

    /// Sends what the transmitter has room for: nothing, or up to its FIFO's size. Whether all is sent.
    fn send(&mut self) -> bool {
        let mut bytes = [0; FIFO_SIZE];
        let next = bytes.iter_mut().zip(self.queue.iter()).map(|(byte, &next)| *byte = next).count();
        let sent = self.uart.send_bytes(&bytes[..next]);
        for _ in 0..sent {
            self.queue.pop_front();
        }
        self.sent += sent as u64;
        self.queue.is_empty()
    }
}

impl<B: Backend> Write for Line<B> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut filter = self.filter.take();
        for &byte in text.as_bytes() {
            match &mut filter {
                Some(filter) => filter.feed(byte, |byte| self.push(byte)),
                None => self.push(byte),
            }
        }
        self.filter = filter;
        Ok(())
    }
}

/// Sets up the port. Without one the kernel is mute, which it says on the screen if there is one.
pub(crate) fn init(screen: Option<&mut FrameBuffer>) {
    // SAFETY: COM1 on every PC; nothing else of the kernel uses these ports.
    let connected = unsafe { Uart16550::new_port(COM1) }.is_ok_and(|uart| PORT.connect(uart).is_ok());
    if let Some(screen) = screen.filter(|_| !connected) {
        screen::show(
            screen,
            "vmalloc kernel: this machine has no serial port (COM1), where its console would be",
        );
    }
}

/// Writes text. Lines end with a newline alone; a terminal in raw mode wants its host to add the
/// carriage return.
pub fn write(text: fmt::Arguments<'_>) {
    PORT.write(text);
}

/// Writes a record for the host runner, on a line of its own.
pub fn write_record(record: Record<'_>) {
    PORT.write_record(record);
}

/// While it lives, only lines that contain its text are written.
#[must_use]
pub(crate) struct Filtered(());

/// Lets only those lines of text through that contain `text`, until the result is dropped. `None`: it is longer than 64
/// bytes. Called by one thread at a time; what others write meanwhile goes the same way.
pub(crate) fn filter(text: &str) -> Option<Filtered> {
    PORT.set_filter(Some(text)).then_some(Filtered(()))
}

impl Drop for Filtered {
    fn drop(&mut self) {
        PORT.set_filter(None);
    }
}

/// The next byte received, if there is one.
pub fn try_read() -> Option<u8> {
    PORT.try_read()
}

/// The line as a place for reports on locks.
pub(crate) static REPORTER: Reporter = Reporter { lock: Some(&CLASS), write };

/// For a panic: takes the port from whoever holds it, and has all be written.
///
/// # Safety
/// Only the caller goes on; every other user of the port is stopped for good.
pub unsafe fn force_unlock() {
    // SAFETY: promised by the caller.
    unsafe { PORT.line.force_unlock() };
    PORT.set_filter(None);
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
