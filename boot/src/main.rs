//! Entry of the host program; see the library for what is where.

use std::process::ExitCode;

fn main() -> ExitCode {
    boot::actions::main(std::env::args_os().skip(1).collect()).into()
}
