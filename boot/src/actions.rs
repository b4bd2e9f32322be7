//! `boot`, `exec`, cargo's runner, and the choice between all actions.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use protocol::Record;

use crate::cli::{self, Action};
use crate::judge::Purpose;
use crate::qemu::{Machine, Orders};
use crate::serial::{Output, Plain};
use crate::session::{self, How};
use crate::status::{Doing, Error, Result, Status};
use crate::terminal::{self, Input, RawMode};
use crate::test_kernel::Tests;
use crate::witness::Witness;
use crate::{bench, cargo, emulator, image, rooms, suites, test_kernel};

/// Does what the words after the program's name say.
#[must_use]
pub fn main(words: Vec<OsString>) -> Status {
    let result = go_to_the_user()
        .and_then(|()| session::handle_signals())
        .and_then(|()| act(cli::parse(words)?.action));
    result.unwrap_or_else(|error| {
        if !error.message.is_empty() {
            eprintln!("boot: {error}");
        }
        error.status
    })
}

/// The environment variable by which `run.sh` and `boot/runner.sh` name the user's current folder: they start cargo in
/// the checkout, and the paths that the user names are meant from elsewhere.
pub const CURRENT_DIR: &str = "VMALLOC_CURRENT_DIR";

fn go_to_the_user() -> Result<()> {
    match env::var_os(CURRENT_DIR) {
        Some(folder) => env::set_current_dir(&folder).doing(format_args!("go to {}", folder.display())),
        None => Ok(()),
    }
}

fn act(action: Action) -> Result<Status> {
    match action {
        Action::Boot(machine) => {
            emulator::check(&machine)?;
            console(&cargo::kernel()?, &machine)
        }
        Action::Exec { commands, machine } => {
            emulator::check(&machine)?;
            exec(&cargo::kernel()?, commands, &machine)
        }
        Action::Test { filter, machine } => {
            emulator::check(&machine)?;
            suites::run(&machine, filter.as_deref())
        }
        Action::Bench(options) => bench::run(&options),
        Action::Report => Err(Error::failed("report: not there yet")),
        Action::Rooms { crates } => rooms::run(&crates),
        Action::Setup => Err(Error::usage("setup: is done by ./run.sh")),
        Action::RunElf { elf, arguments } => run_elf(&elf, arguments),
    }
}

/// Cargo's runner.
fn run_elf(elf: &Path, arguments: Vec<OsString>) -> Result<Status> {
    let Some(tests) = Tests::of(elf)? else {
        let machine = cli::parse_run_arguments(arguments)?.machine;
        emulator::check(&machine)?;
        return console(elf, &machine);
    };
    let arguments = cli::parse_test_arguments(arguments)?;
    emulator::check(&arguments.machine)?;
    if !tests.may_run(arguments.filter.as_deref()) {
        println!("0 passed, 0 failed");
        return Ok(Status::Ok);
    }
    let (verdict, took) = test_kernel::run(elf, &arguments.machine, arguments.filter.as_deref())?;
    println!("{} passed, {} failed ({:.1} s)", verdict.passed, verdict.failed, took.as_secs_f64());
    Ok(verdict.status)
}

/// Boots to the console on this terminal.
fn console(elf: &Path, options: &cli::Machine) -> Result<Status> {
    let image = image::of(elf, &cargo::target_folder("images")?)?;
    let orders = Orders { parameters: options.append.clone(), ..Orders::default() };
    let machine = Machine::new(options, image, &orders)?.announced(elf);
    if terminal::is_interactive() {
        eprintln!("boot: Ctrl-] ends the machine");
    }
    let input = Input::start();
    loop {
        let mut witness = Witness::new(Purpose::Console)?;
        let raw = RawMode::enter()?;
        let mut ready = false;
        let mut plain = Plain::default();
        let result = session::run(machine.command(), Some(&input), machine.users_limit(), &mut |output| {
            witness.see(output);
            match output {
                // The firmware would clear the screen.
                Output::Text(text) if !ready => show(&plain.push(text), raw.is_some()),
                Output::Text(text) => show(text, raw.is_some()),
                Output::Record(Record::Console) => {
                    ready = true;
                    input.ready();
                    ControlFlow::Continue(())
                }
                Output::Record(_) | Output::Garbled(_) => ControlFlow::Continue(()),
            }
        });
        drop(raw);
        let end = result?;
        if end.how == How::EndedByUser {
            eprintln!();
        }
        let verdict = witness.close(&end);
        if !verdict.again {
            return Ok(verdict.status);
        }
    }
}

/// Runs console commands and prints exactly what they print.
fn exec(elf: &Path, commands: String, options: &cli::Machine) -> Result<Status> {
    let image = image::of(elf, &cargo::target_folder("images")?)?;
    let orders = Orders { parameters: options.append.clone(), commands: Some(commands), filter: None };
    let machine = Machine::new(options, image, &orders)?.announced(elf);
    let mut witness = Witness::new(Purpose::Commands)?;
    let mut place = Place::Log;
    let start = Instant::now();
    let end = session::run(machine.command(), None, machine.limit(), &mut |output| {
        let text = witness.see(output);
        match output {
            Output::Record(Record::Console) if place == Place::Log => {
                place = Place::Output;
                if options.verbose {
                    eprintln!("boot: console ready after {:.2} s", start.elapsed().as_secs_f64());
                }
            }
            Output::Record(Record::CommandsDone { .. }) => place = Place::Log,
            Output::Record(Record::Panic) => place = Place::Report,
            _ => {}
        }
        match place {
            Place::Log => ControlFlow::Continue(()),
            Place::Output => show(&text, false),
            Place::Report => {
                let _ = io::stderr().write_all(&text);
                ControlFlow::Continue(())
            }
        }
    })?;
    let verdict = witness.close(&end);
    match end.how {
        How::EndedByUser => Err(Error::failed("standard output was closed before the commands were done")),
        _ => Ok(verdict.status),
    }
}

/// Where text from the machine goes, besides the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nowhere.
    Log,
    /// To standard output.
    Output,
    /// To standard error.
    Report,
}

/// Shows text at once; asks for the machine's end if nobody sees it.
fn show(text: &[u8], raw: bool) -> ControlFlow<()> {
    let mut stdout = io::stdout().lock();
    let result = if raw { stdout.write_all(&terminal::for_raw_mode(text)) } else { stdout.write_all(text) };
    match result.and_then(|()| stdout.flush()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}
