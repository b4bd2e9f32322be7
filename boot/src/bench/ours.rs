//! Runs console commands on a machine of this kernel's, without a word unless it goes wrong.

use std::ops::ControlFlow;
use std::path::PathBuf;

use protocol::Record;

use crate::machine::accelerator::Accelerator;
use crate::machine::choice;
use crate::machine::image::{self, Image};
use crate::machine::options::{Accel, Memory, Options, Qemu};
use crate::machine::qemu::Orders;
use crate::session;
use crate::session::judge::Purpose;
use crate::session::serial::Output;
use crate::session::witness::Witness;
use crate::status::{Result, Status};
use crate::{cargo, machine, places};

use super::figure::Conditions;

/// An instruction takes 2^6 ns: time in the guest passes fast enough to boot.
pub const ICOUNT_SHIFT: u8 = 6;

/// The memory of a machine, unless its areas need more.
pub const MEMORY: Memory = Memory { mebibytes: 2048 };

/// What the machines of the suite have in common.
#[derive(Debug)]
pub struct Machines {
    elf: PathBuf,
    image: Image,
    accelerator: Accelerator,
}

/// What came of commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// What they printed.
    Done(String),
    /// The line that says how they failed.
    Failed(String),
}

impl Machines {
    /// Builds the kernel and chooses the accelerator of timed machines.
    ///
    /// # Errors
    /// It does not build, or the user's accelerator does not work here.
    pub fn new(accel: Accel) -> Result<Self> {
        let elf = cargo::kernel()?;
        let image = image::of(&elf, &places::target_folder("images")?)?;
        let accelerator = choice::choose(&Options { accel, ..plain(1, MEMORY) }, &image)?.accelerator;
        Ok(Self { elf, image, accelerator })
    }

    /// A machine on which time is measured. The first touch of its memory is no part of that.
    #[must_use]
    pub fn timed(&self, cpus: u16, memory: Memory) -> Options {
        Options { accel: self.accel(), prealloc: true, ..plain(cpus, memory) }
    }

    /// What runs machines that count no instructions.
    #[must_use]
    pub fn accel(&self) -> Accel {
        match self.accelerator {
            Accelerator::Kvm => Accel::Kvm,
            Accelerator::Tcg => Accel::Tcg,
        }
    }

    /// Boots, runs the commands, powers off.
    ///
    /// # Errors
    /// The machine could not be started, or a signal wants this program to end.
    pub fn run(&self, options: &Options, commands: String) -> Result<Reply> {
        self.carry_out(options, &Orders { commands: Some(commands), ..Orders::default() })
    }

    /// Boots, carries out the orders, which have commands, and powers off.
    ///
    /// # Errors
    /// The machine could not be started, or a signal wants this program to end.
    pub fn carry_out(&self, options: &Options, orders: &Orders) -> Result<Reply> {
        let machine = machine::prepare(options, self.image.clone(), orders)?.of(&self.elf);
        let mut witness = Witness::new(Purpose::commands(orders.commands.as_deref().unwrap_or_default()))?;
        let mut text = Vec::new();
        let mut listening = false;
        let end = session::run(machine.program(), None, machine.limit(), &mut |output| {
            let piece = witness.see(output);
            match output {
                Output::Record(Record::Console) => listening = true,
                Output::Record(Record::CommandsDone { .. }) => listening = false,
                _ if listening => text.extend_from_slice(&piece),
                _ => {}
            }
            ControlFlow::Continue(())
        })?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let verdict = witness.verdict(&end);
        Ok(match verdict.status {
            Status::Ok => Reply::Done(text),
            _ => {
                witness.complain(&verdict, &end);
                let last = verdict.complaints.first().map(String::as_str);
                Reply::Failed(last.or(text.lines().last()).unwrap_or("failed").to_owned())
            }
        })
    }
}

/// A machine on which instructions are counted, each as 2^`shift` ns.
#[must_use]
pub fn counted(shift: u8, memory: Memory) -> Options {
    Options { icount: Some(shift), accel: Accel::Tcg, ..plain(1, memory) }
}

/// A machine of so many emulated CPUs.
#[must_use]
pub fn emulated(cpus: u16, memory: Memory) -> Options {
    Options { accel: Accel::Tcg, ..plain(cpus, memory) }
}

fn plain(cpus: u16, memory: Memory) -> Options {
    Options {
        cpus: Some(cpus),
        memory,
        prealloc: false,
        icount: None,
        accel: Accel::Auto,
        timeout: None,
        append: String::new(),
        qemu: Qemu::default(),
        gdb: None,
        verbose: false,
    }
}

/// What is to be said of figures from this machine.
#[must_use]
pub fn conditions(options: &Options, workers: u16) -> Conditions {
    let accelerator = match (options.icount, options.accel) {
        (Some(shift), _) => format!("tcg, icount shift {shift}"),
        (None, Accel::Kvm) => "kvm".into(),
        (None, _) => "tcg, thread=multi".into(),
    };
    let memory = options.memory.to_string();
    Conditions { accelerator, cpus: options.cpus(), workers, memory, profile: "release".into() }
}
