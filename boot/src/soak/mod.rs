//! `./run.sh soak`: random machines, kernels and loads, one after the other until the time is up.
//!
//! | module | for |
//! |---|---|
//! | `cpu_time` | tells how long CPUs worked for a run |
//! | `draw` | draws a run: a seed and a number decide all of it |
//! | `judge` | tells what a run came to |
//! | `random` | numbers that a seed decides |
//!
//! A run boots a kernel, has it carry out loads beside each other and commands after them, and ends with the command
//! `balance`, which fails if anything was left behind. What fails is repeated by its seed and number.

mod cpu_time;
mod draw;
mod judge;
mod random;
#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use protocol::Record;

use crate::machine;
use crate::machine::emulator;
use crate::machine::image::{self, Image};
use crate::machine::options::{Accel, Memory, Options as Machine, Qemu};
use crate::machine::qemu::Orders;
use crate::scratch::Scratch;
use crate::session::Listener;
use crate::session::judge::Purpose;
use crate::session::serial::Output;
use crate::session::witness::Witness;
use crate::status::{Result, Status};
use crate::{cargo, places, replay, session, words};
use draw::{Choices, Plan};
use judge::{Account, Outcome};

/// The trace whose calls are replayed, in the checkout.
const TRACE: &str = "bench/traces/linux-7.2.13-mixed.trace.xz";

/// What the user says of a soak.
#[derive(Args, Debug)]
// The machine's are a group of that name already.
#[group(id = "soak")]
pub struct Options {
    /// Begin no run after so many minutes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub minutes: u32,
    /// What decides all runs [default: another one each time, which is printed]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Only this run of the seed
    #[arg(long, value_name = "N")]
    pub run: Option<u64>,
    /// Numbers of CPUs to draw from [default: 1 to 64]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=255))]
    pub cpus: Vec<u16>,
    /// Sizes of memory to draw from, such as 96M,4G [default: 96M to 12G]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub memory: Vec<Memory>,
    /// Run these console commands in the place of those that are drawn
    #[arg(long, value_name = "CMD; CMD; ...", value_parser = words::commands())]
    pub commands: Option<String>,
    /// What runs the guest's instructions
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Accel::Auto)]
    pub accel: Accel,
    /// The emulator.
    #[command(flatten)]
    pub qemu: Qemu,
}

/// Kernels and the trace, each made once.
struct Made {
    kernels: [Option<(PathBuf, Image)>; 2],
    program: Option<PathBuf>,
    folder: Scratch,
}

/// Runs until the time is up.
///
/// # Errors
/// A kernel does not build, a machine cannot be started, or a signal wants this program to end.
pub fn run(options: &Options) -> Result<Status> {
    let choices = Choices::of(&options.cpus, &options.memory)?;
    emulator::check(&any_machine(options))?;
    let seed = options.seed.unwrap_or_else(any_seed);
    let mut made = Made {
        kernels: [None, None],
        program: None,
        folder: Scratch::within(&places::target_folder("runs")?)?,
    };
    println!("seed {seed}");
    let begin = Instant::now();
    let time = Duration::from_secs(u64::from(options.minutes) * 60);
    let first = options.run.unwrap_or(0);
    // Before the first run, as a signal ends what builds at once.
    made.all_that_is_wanted(options.run.map(|_| Plan::draw(seed, first, &choices)))?;
    let listener = Listener::new();
    let (mut status, mut runs, mut failed, mut worked) = (Status::Ok, 0, 0, Some(Duration::ZERO));
    let mut number = first;
    let end = loop {
        let mut plan = Plan::draw(seed, number, &choices);
        if let Some(commands) = &options.commands {
            plan.commands.clone_from(commands);
        }
        let start = Instant::now();
        let again = repeat(options, seed, number);
        // An error says what keeps all runs from being made: those that were made count.
        let come = listener.check().and_then(|()| made.run(&plan, options, &again));
        let (outcome, work) = match come {
            Ok(come) => come,
            Err(error) => break Err(error),
        };
        runs += 1;
        worked = worked.zip(work).map(|(sum, work)| sum + work);
        println!("run {number}: {plan}: {outcome} ({})", times(start.elapsed(), work));
        if let Outcome::Failed { status: how, .. } = &outcome {
            failed += 1;
            status = status.worse(*how);
            println!("  repeat it by: {again}");
            println!("  {}", plan.commands);
        }
        if options.run.is_some() || begin.elapsed() >= time {
            break Ok(status);
        }
        number += 1;
    };
    println!("{runs} runs, {failed} failed ({})", times(begin.elapsed(), worked));
    // A signal may have come since the last run.
    end.and_then(|status| listener.check().map(|()| status))
}

/// A machine that runs may have, for QEMU to say whether it makes such.
fn any_machine(soak: &Options) -> Machine {
    // QEMU's arguments may go with these numbers alone.
    let (cpus, memory) = (soak.cpus.first(), soak.memory.first());
    Machine {
        cpus: Some(cpus.map_or(1, |&cpus| cpus)),
        memory: memory.map_or(Memory { mebibytes: 1024 }, |&memory| memory),
        prealloc: false,
        icount: None,
        accel: soak.accel,
        timeout: None,
        append: String::new(),
        qemu: soak.qemu.clone(),
        gdb: None,
        verbose: false,
    }
}

/// How long something took, and how long CPUs of this computer worked for it, if that is known.
fn times(took: Duration, work: Option<Duration>) -> String {
    let work = work.map_or(String::new(), |work| format!(", {:.0} s of CPU time", work.as_secs_f64()));
    format!("{:.0} s{work}", took.as_secs_f64())
}

/// A seed that is hardly ever the same.
fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Short enough to be typed.
    (now.as_nanos() % 1_000_000) as u64
}

/// The command that makes a run again.
fn repeat(options: &Options, seed: u64, number: u64) -> String {
    let mut command = format!("./run.sh soak --seed {seed} --run {number}");
    let list = |name: &str, words: Vec<String>| match words.is_empty() {
        true => String::new(),
        false => format!(" --{name} {}", words.join(",")),
    };
    command += &list("cpus", options.cpus.iter().map(u16::to_string).collect());
    command += &list("memory", options.memory.iter().map(Memory::to_string).collect());
    let word = |name: &str, word: &str| format!(" --{name} {}", shlex::try_quote(word).unwrap_or_default());
    let (qemu, usual) = (&options.qemu, Qemu::default());
    if let (true, Some(accel)) = (options.accel != Accel::Auto, options.accel.to_possible_value()) {
        command += &word("accel", accel.get_name());
    }
    for (name, value, usual) in [
        ("machine", Some(&qemu.machine), Some(&usual.machine)),
        ("cpu", qemu.cpu.as_ref(), None),
        ("emulator", Some(&qemu.program), Some(&usual.program)),
    ] {
        command +=
            &value.filter(|value| Some(*value) != usual).map_or_else(String::new, |value| word(name, value));
    }
    for words in &qemu.more {
        command += &word("qemu", &shlex::try_join(words.0.iter().map(String::as_str)).unwrap_or_default());
    }
    if let Some(commands) = &options.commands {
        command += &word("commands", commands);
    }
    command
}

impl Made {
    /// Makes what the only run of a soak wants, or what any may want.
    fn all_that_is_wanted(&mut self, only: Option<Plan>) -> Result<()> {
        for checked in [false, true] {
            if only.as_ref().is_none_or(|plan| plan.checked == checked) {
                self.kernel(checked)?;
            }
        }
        if only.is_none_or(|plan| plan.replays) {
            self.program()?;
        }
        Ok(())
    }

    /// The kernel and its disk image.
    fn kernel(&mut self, checked: bool) -> Result<(PathBuf, Image)> {
        let place = &mut self.kernels[usize::from(checked)];
        if place.is_none() {
            let elf = if checked { cargo::checked_kernel()? } else { cargo::kernel()? };
            let image = image::of(&elf, &places::target_folder("images")?)?;
            *place = Some((elf, image));
        }
        Ok(place.clone().expect("it was just made"))
    }

    /// The calls of the trace.
    fn program(&mut self) -> Result<PathBuf> {
        if self.program.is_none() {
            let program = self.folder.path().join("program");
            replay::write_program(&places::root().join(TRACE), &program)?;
            self.program = Some(program);
        }
        Ok(self.program.clone().expect("it was just made"))
    }

    /// Makes one run: what it came to, and how long CPUs worked for its machine.
    ///
    /// Its log begins with the command that makes it `again`.
    fn run(&mut self, plan: &Plan, soak: &Options, again: &str) -> Result<(Outcome, Option<Duration>)> {
        let (elf, image) = self.kernel(plan.checked)?;
        let program = if plan.replays { Some(self.program()?) } else { None };
        let options = Machine {
            cpus: Some(plan.cpus),
            memory: plan.memory,
            append: plan.parameters.clone(),
            ..any_machine(soak)
        };
        let orders = Orders {
            parameters: plan.parameters.clone(),
            commands: Some(plan.commands.clone()),
            program,
            ..Orders::default()
        };
        let machine = machine::prepare(&options, image, &orders)?.of(&elf);
        let mut witness = Witness::new(Purpose::commands(&plan.commands))?;
        witness.begin_log(again);
        let mut account = Account::default();
        let before = cpu_time::of_children();
        let end = session::run(machine.program(), None, machine.limit(), &mut |output| {
            let text = witness.see(output);
            match output {
                Output::Record(Record::Command { text }) => account.command(text),
                Output::Record(Record::CommandsDone { failed }) => account.failed = failed,
                _ => account.text(&text),
            }
            ControlFlow::Continue(())
        })?;
        let worked = cpu_time::of_children().zip(before).map(|(now, then)| now - then);
        let verdict = witness.verdict(&end);
        let outcome = account.outcome(&verdict, plan.is_small());
        if matches!(outcome, Outcome::Failed { .. }) {
            witness.complain(&verdict, &end);
        }
        Ok((outcome, worked))
    }
}
