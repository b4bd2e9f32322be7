//! The interactive console: lines by the crate `lineedit`, which works byte by byte and asks nothing of the terminal,
//! so that input may also come from a pipe.

use super::{
    commands::{complete, run_line},
    failures,
};
use crate::{drivers::serial, print, println, threads};
use core::fmt::{self, Write};
use lineedit::Editor;

/// Microseconds between looks for input. The port has room for 16 bytes, which take 1400 at 115200 baud; what a real one
/// has no room for is lost.
const PAUSE: u64 = 1000;

/// The serial line as the editor writes to it.
struct Output;

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        print!("{text}");
        Ok(())
    }
}

/// Reads lines and runs them, for ever.
pub(super) fn run() -> ! {
    println!("Type help for the list of commands.");
    let mut editor = Editor::new("> ");
    let Ok(()) = editor.start(&mut Output) else { unreachable!("the serial line takes all") };
    loop {
        let Some(byte) = serial::try_read() else {
            threads::sleep(PAUSE);
            continue;
        };
        if let Ok(Some(line)) = editor.feed(byte, &complete, &mut Output) {
            run_line(&line);
            // Here a person has seen what failed.
            failures::forget();
            let Ok(()) = editor.start(&mut Output) else { unreachable!("the serial line takes all") };
        }
    }
}
