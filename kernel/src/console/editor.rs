//! The interactive console: line editing and history by `embedded-cli`, which works byte by byte
//! and asks nothing of the terminal, so that input may also come from a pipe.

use super::{FAILED, run_line};
use crate::{drivers::serial, print, println, threads};
use alloc::string::{String, ToString};
use core::{convert::Infallible, sync::atomic::Ordering};
use embedded_cli::{arguments::Arg, cli::CliBuilder, cli::CliHandle, command::RawCommand};

const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;
/// Bytes of the longest line.
const LINE: usize = 512;
/// Bytes of history.
const HISTORY: usize = 2048;
/// Microseconds between looks for input. The port holds back what it has no room for.
const PAUSE: u64 = 4000;

/// The serial line as `embedded-cli` writes to it.
struct Output;

impl embedded_io::ErrorType for Output {
    type Error = Infallible;
}

impl embedded_io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        // The library writes whole characters; a carriage return is the host's to add.
        for text in bytes.utf8_chunks() {
            text.valid().split('\r').for_each(|part| print!("{part}"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// Reads lines and runs them, for ever.
pub(super) fn run() -> ! {
    println!("Type help for the list of commands.");
    let cli = CliBuilder::default()
        .writer(Output)
        .command_buffer([0; LINE])
        .history_buffer([0; HISTORY])
        .prompt("> ")
        .build();
    let Ok(mut cli) = cli;
    loop {
        let byte = match serial::try_read() {
            // Terminals send it for the backspace key.
            Some(DELETE) => BACKSPACE,
            Some(byte) => byte,
            None => {
                threads::sleep(PAUSE);
                continue;
            }
        };
        let mut run =
            RawCommand::processor(|_: &mut CliHandle<'_, Output, Infallible>, raw: RawCommand<'_>| {
                run_line(&rejoin(&raw));
                // Here a person has seen what failed.
                FAILED.store(0, Ordering::Relaxed);
                Ok(())
            });
        let Ok(()) = cli.process_byte::<RawCommand<'_>, _>(byte, &mut run);
    }
}

/// The line as it was typed, but for repeated spaces.
fn rejoin(raw: &RawCommand<'_>) -> String {
    let mut line = raw.name().to_string();
    for argument in raw.args().args().flatten() {
        line.push(' ');
        match argument {
            Arg::Value(value) => line.push_str(value),
            Arg::LongOption(name) => line.extend(["--", name]),
            Arg::ShortOption(name) => line.extend(['-', name]),
            Arg::DoubleDash => line.push_str("--"),
        }
    }
    line
}
