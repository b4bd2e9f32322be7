//! The serial line, on a port of the tests' own with a device that counts.

use alloc::{string::String, sync::Arc, vec::Vec};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
use kernel::{
    arch::{apic::Vector, cpu, interrupts},
    drivers::serial::Port,
    lock_class,
    sync::IrqLock,
    threads,
};
use uart_16550::{Uart16550, backend::Backend};

/// Bytes of a 16550's FIFO.
const FIFO: usize = 16;
/// Looks at a transmitter that does not empty, before the device gives up waiting for an interrupt: many times
/// as many as there are between two ticks.
const MOST_LOOKS: usize = 1 << 22;

/// What a device was seen to do.
struct Seen {
    sent: IrqLock<Vec<u8>>,
    divisor: [AtomicU64; 2],
    uses_fifo: AtomicBool,
    /// Bytes written since the transmitter was seen empty.
    in_fifo: AtomicUsize,
    most_in_fifo: AtomicUsize,
    /// Whether what was sent must be waited for until the sender's CPU has handled an interrupt.
    waits: AtomicBool,
    /// Interrupts of the sender's CPU when it wrote last.
    ticks: AtomicU64,
    /// Looks at the transmitter since.
    looks: AtomicUsize,
    /// Whether it waited in vain once. Then it waits no more.
    in_vain: AtomicBool,
}

/// Its transmitter is empty at once, or, if it waits, after a tick of the clock.
struct Device {
    seen: Arc<Seen>,
    scratch: u8,
    line_control: u8,
}

fn ticks() -> u64 {
    interrupts::handled(cpu::current(), Vector::Timer)
}

impl Backend for Device {
    unsafe fn read(&mut self, register: u8) -> u8 {
        match register {
            // FIFOs on.
            2 => 0xc1,
            5 => {
                let full = self.seen.in_fifo.load(Ordering::Relaxed) > 0;
                let waits = full && self.seen.waits.load(Ordering::Relaxed);
                if waits && ticks() == self.seen.ticks.load(Ordering::Relaxed) {
                    if self.seen.looks.fetch_add(1, Ordering::Relaxed) < MOST_LOOKS {
                        return 0;
                    }
                    self.seen.in_vain.store(true, Ordering::Relaxed);
                    self.seen.waits.store(false, Ordering::Relaxed);
                }
                self.seen.in_fifo.store(0, Ordering::Relaxed);
                0x60
            }
            7 => self.scratch,
            _ => 0,
        }
    }

    unsafe fn write(&mut self, register: u8, value: u8) {
        let seen = &self.seen;
        match register {
            0 | 1 if self.line_control & 0x80 != 0 => {
                seen.divisor[usize::from(register)].store(value.into(), Ordering::Relaxed);
            }
            0 => {
                seen.sent.lock().push(value);
                let count = seen.in_fifo.fetch_add(1, Ordering::Relaxed) + 1;
                seen.most_in_fifo.fetch_max(count, Ordering::Relaxed);
                seen.ticks.store(ticks(), Ordering::Relaxed);
                seen.looks.store(0, Ordering::Relaxed);
            }
            2 => seen.uses_fifo.store(value & 1 != 0, Ordering::Relaxed),
            3 => self.line_control = value,
            7 => self.scratch = value,
            _ => {}
        }
    }
}

/// A port with such a device on it.
fn port() -> (Arc<Port<Device>>, Arc<Seen>) {
    let seen = Arc::new(Seen {
        sent: IrqLock::new(lock_class!("test serial device"), Vec::with_capacity(1 << 16)),
        divisor: [const { AtomicU64::new(0) }; 2],
        uses_fifo: AtomicBool::new(false),
        in_fifo: AtomicUsize::new(0),
        most_in_fifo: AtomicUsize::new(0),
        waits: AtomicBool::new(false),
        ticks: AtomicU64::new(0),
        looks: AtomicUsize::new(0),
        in_vain: AtomicBool::new(false),
    });
    let device = Device { seen: seen.clone(), scratch: 0, line_control: 0 };
    let port = Arc::new(Port::new());
    // SAFETY: the device is no hardware.
    port.connect(unsafe { Uart16550::new_with_backend(device) }).expect("there");
    (port, seen)
}

fn sent(seen: &Seen) -> String {
    String::from_utf8(core::mem::take(&mut *seen.sent.lock())).expect("text")
}

/// Seen failing: with the library's default configuration (9600 baud).
#[test_case]
fn the_line_runs_at_115200_baud_with_its_fifo() {
    let (port, seen) = port();
    assert_eq!([0, 1].map(|half: usize| seen.divisor[half].load(Ordering::Relaxed)), [1, 0]);
    assert!(seen.uses_fifo.load(Ordering::Relaxed));
    let line: String = "0123456789".repeat(10);
    port.write(format_args!("{line}"));
    assert_eq!(sent(&seen), line);
    assert_eq!(seen.most_in_fifo.load(Ordering::Relaxed), FIFO);
}

/// Seen failing: with the whole text sent while the line is locked, so with interrupts off.
#[test_case]
fn interrupts_come_while_a_line_is_sent() {
    let (port, seen) = port();
    seen.waits.store(true, Ordering::Relaxed);
    port.write(format_args!("{:100}\n", "a line of 101 characters"));
    assert!(!seen.in_vain.load(Ordering::Relaxed), "no interrupt came");
    assert_eq!(sent(&seen).len(), 101);
}

/// Seen failing: with each piece of a text sent under a hold of the lock of its own.
#[test_case]
fn lines_of_several_cpus_do_not_mix() {
    const LINES: usize = 100;
    /// In pieces, as most lines are.
    struct Pieces(usize);
    impl fmt::Display for Pieces {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (0..20).try_for_each(|_| write!(f, "{} ", self.0))
        }
    }
    let (port, seen) = port();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let port = port.clone();
            threads::spawn("writer", move || {
                (0..LINES).for_each(|_| port.write(format_args!("{}\n", Pieces(writer))))
            })
            .expect("memory enough")
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join());
    let text = sent(&seen);
    assert_eq!(text.lines().count(), 4 * LINES);
    for line in text.lines() {
        let first = line.split(' ').next().expect("not empty");
        assert_eq!(line.split_whitespace().filter(|&piece| piece == first).count(), 20, "{line}");
    }
}

/// Longer than all that may wait to be sent.
#[test_case]
fn a_text_of_any_length_is_sent_whole() {
    let (port, seen) = port();
    let text: String = (0..5000).map(|number| char::from(b'a' + (number % 26) as u8)).collect();
    port.write(format_args!("{text}"));
    assert!(sent(&seen) == text);
}

#[test_case]
fn records_begin_a_line() {
    let (port, seen) = port();
    port.write(format_args!("no end"));
    port.write_record(protocol::Record::Passed);
    port.write_record(protocol::Record::Passed);
    assert_eq!(sent(&seen), "no end\n\u{1e}passed\n\u{1e}passed\n");
}

/// Nothing answers where there is no port: all bits are read as ones. Seen failing (not ending): with the
/// library's own wait for the second.
#[test_case]
fn a_port_without_a_device_is_refused() {
    struct Nothing;
    impl Backend for Nothing {
        unsafe fn read(&mut self, _: u8) -> u8 {
            0xff
        }
        unsafe fn write(&mut self, _: u8, _: u8) {}
    }
    /// Keeps what is written, and never sends it.
    struct Broken([u8; 8]);
    impl Backend for Broken {
        unsafe fn read(&mut self, register: u8) -> u8 {
            if register == 5 { 0 } else { self.0[usize::from(register)] }
        }
        unsafe fn write(&mut self, register: u8, value: u8) {
            self.0[usize::from(register)] = value;
        }
    }
    // SAFETY: the devices are no hardware.
    let (nothing, broken) =
        unsafe { (Uart16550::new_with_backend(Nothing), Uart16550::new_with_backend(Broken([0; 8]))) };
    let port = Port::new();
    assert!(port.connect(nothing).is_err());
    port.write(format_args!("lost"));
    assert!(Port::new().connect(broken).is_err());
}
