//! Describes a machine as a QEMU command.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use protocol::replay::FW_CFG_PROGRAM;
use protocol::{FW_CFG_COMMANDS, FW_CFG_FILTER, FW_CFG_PARAMETERS};

use super::accelerator::{Accelerator, Choice};
use super::autopsy;
use super::firmware::{self, Firmware};
use super::image::Image;
use super::options::Options;
use crate::places;
use crate::scratch::Scratch;
use crate::session::Program;
use crate::session::patience::Limit;
use crate::status::{Doing, Result};
use crate::symbols::Symbols;

/// The device by which the kernel ends the machine; its port is [`protocol::EXIT_PORT`].
pub const EXIT_DEVICE: [&str; 2] = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"];

/// What makes QEMU's standard streams the machine's serial line.
pub const SERIAL: [&str; 2] = ["-serial", "stdio"];

/// What the kernel is told at boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orders {
    /// Kernel parameters; empty for none.
    pub parameters: String,
    /// Console commands to run instead of an interactive console.
    pub commands: Option<String>,
    /// Run only tests whose name contains this.
    pub filter: Option<String>,
    /// A file with a program of calls, for the command `replay`.
    pub program: Option<PathBuf>,
    /// A file on the host that the kernel may write events to.
    pub events: Option<PathBuf>,
}

/// Everything on this computer that a machine is made of.
///
/// The files with the kernel's orders live as long as this value, so that the
/// machine can be started again.
#[derive(Debug)]
pub struct Machine {
    options: Options,
    accelerator: Accelerator,
    /// Why not the other one; empty if the user said so.
    reason: String,
    firmware: Firmware,
    image: Image,
    /// Pairs of a fw_cfg name and the file that holds its content.
    orders: Vec<(&'static str, PathBuf)>,
    /// The file that the kernel may write events to.
    events: Option<PathBuf>,
    /// Where QEMU's monitor listens, if the path is short enough for a socket.
    monitor: Option<PathBuf>,
    /// The kernel, if it is known.
    elf: Option<PathBuf>,
    _folder: Scratch,
}

/// Bytes of the longest path of a socket, in Linux.
const LONGEST_SOCKET: usize = 107;

impl Machine {
    /// Finds the firmware and writes the orders.
    ///
    /// # Errors
    /// If the computer lacks something, or the temporary folder cannot be written.
    pub fn new(choice: Choice, options: &Options, image: Image, orders: &Orders) -> Result<Self> {
        let folder = Scratch::within(&places::target_folder("runs")?)?;
        let parameters = Some(&orders.parameters).filter(|parameters| !parameters.is_empty());
        let mut files = Vec::new();
        for (name, content) in [
            (FW_CFG_PARAMETERS, parameters),
            (FW_CFG_COMMANDS, orders.commands.as_ref()),
            (FW_CFG_FILTER, orders.filter.as_ref()),
        ] {
            if let Some(content) = content {
                let path = folder.path().join(name.replace('/', "-"));
                std::fs::write(&path, content).doing("write the kernel's orders")?;
                files.push((name, path));
            }
        }
        files.extend(orders.program.iter().map(|path| (FW_CFG_PROGRAM, path.clone())));
        Ok(Self {
            options: options.clone(),
            accelerator: choice.accelerator,
            reason: choice.reason,
            firmware: firmware::find()?,
            image,
            orders: files,
            events: orders.events.clone(),
            monitor: Some(folder.path().join("monitor"))
                .filter(|path| path.as_os_str().len() <= LONGEST_SOCKET),
            elf: None,
            _folder: folder,
        })
    }

    /// Tells what the machine's kernel is, so that addresses of its code become functions and lines.
    #[must_use]
    pub fn of(self, elf: &Path) -> Self {
        Self { elf: Some(elf.to_owned()), ..self }
    }

    /// The machine as a program, of which it is asked where its CPUs are when its time is up.
    #[must_use]
    pub fn program(&self) -> Program<'_> {
        let program = Program::from(self.command()).of(Symbols::of(self.elf.clone()));
        match &self.monitor {
            Some(monitor) => program.asking(|symbols| autopsy::tell(monitor, symbols)),
            None => program,
        }
    }

    /// Tells the user on standard error what machine it is. `elf` is its kernel.
    #[must_use]
    pub fn announced(self, elf: &Path) -> Self {
        let this = self.of(elf);
        this.announce(elf);
        this
    }

    fn announce(&self, elf: &Path) {
        eprintln!("boot: {}", self.summary());
        if self.options.verbose {
            eprintln!("boot: {}", self.shown());
        }
        if let Some(port) = self.options.gdb {
            eprintln!("boot: waiting for gdb: {}", gdb(elf, port));
        }
    }

    /// The command that starts the machine, without its standard streams.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.options.qemu.program);
        command.args(self.arguments()).stdin(Stdio::null());
        command
    }

    /// How long the machine may run where there is a limit by default.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.options.limit()
    }

    /// How long the machine may run if the user set a limit.
    #[must_use]
    pub fn users_limit(&self) -> Limit {
        self.options.users_limit()
    }

    fn summary(&self) -> String {
        let accelerator = match self.accelerator {
            Accelerator::Kvm => "KVM",
            Accelerator::Tcg => "TCG",
        };
        let reason = if self.reason.is_empty() { String::new() } else { format!(" ({})", self.reason) };
        let cpus = self.options.cpus();
        let plural = if cpus == 1 { "" } else { "s" };
        format!("QEMU with {accelerator}{reason}, {cpus} CPU{plural}, {} memory", self.options.memory)
    }

    fn arguments(&self) -> Vec<OsString> {
        let options = &self.options;
        let mut arguments: Vec<OsString> = Vec::new();
        arguments.extend(bare_machine(options, self.accelerator).map(OsString::from));
        let mut add = |words: &[&str]| arguments.extend(words.iter().map(OsString::from));
        add(&SERIAL);
        add(&EXIT_DEVICE);
        if let Some(port) = options.gdb {
            add(&["-gdb", &format!("tcp::{port}"), "-S"]);
        }
        if let Some(monitor) = &self.monitor {
            arguments.push("-qmp".into());
            let socket =
                format!("unix:{},server=on,wait=off", monitor.display().to_string().replace(',', ",,"));
            arguments.push(socket.into());
        }
        match self.firmware.code_only {
            true => {
                arguments.push("-drive".into());
                arguments.push(with_file("if=pflash,format=raw,readonly=on", &self.firmware.path));
            }
            false => arguments.extend(["-bios".into(), self.firmware.path.clone().into()]),
        }
        // Of the disks that OVMF knows none loads faster (measured).
        arguments.push("-drive".into());
        arguments.push(with_file("if=none,id=disk,format=raw,readonly=on", self.image.path()));
        arguments.extend(["-device".into(), "virtio-blk-pci,drive=disk,bootindex=0".into()]);
        for (name, path) in &self.orders {
            arguments.push("-fw_cfg".into());
            arguments.push(with_file(&format!("name={name}"), path));
        }
        if let Some(events) = &self.events {
            arguments.push("-chardev".into());
            arguments.push(with_path("file,id=events", "path", events));
            for device in ["virtio-serial-pci,max_ports=1", "virtconsole,chardev=events"] {
                arguments.extend(["-device".into(), device.into()]);
            }
        }
        arguments.extend(users_words(options).map(OsString::from));
        arguments
    }

    /// The command as it could be typed to a shell.
    fn shown(&self) -> String {
        let program = OsString::from(&self.options.qemu.program);
        let words: Vec<String> = std::iter::once(&program)
            .chain(&self.arguments())
            .map(|word| quoted(&word.to_string_lossy()))
            .collect();
        words.join(" ")
    }
}

/// What to type to a shell for gdb to find the kernel, its symbols, and the project's commands for gdb. A hardware
/// breakpoint, because nothing is there yet.
fn gdb(elf: &Path, port: u16) -> String {
    let symbols = format!("symbol-file {}", elf.display());
    let script = format!("source {}", places::root().join("kernel/gdb/vmalloc.py").display());
    let target = format!("target remote :{port}");
    let commands = [&symbols, &script, &target, "hbreak _start", "continue"];
    let commands: Vec<_> = commands.iter().map(|command| format!(" -ex {}", quoted(command))).collect();
    format!("gdb{}", commands.concat())
}

/// A word as it could be typed to a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=,./:+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What makes a machine of nothing but CPUs and memory, for whatever kernel.
pub fn bare_machine(options: &Options, accelerator: Accelerator) -> impl Iterator<Item = String> {
    const DEVICES: &str = "-nodefaults -no-reboot \
        -display none -vga none -net none -monitor none";
    let size = format!("-smp {} -m {}", options.cpus(), options.memory);
    // Nothing of the computer's own time may reach the guest.
    let count =
        options.icount.map(|shift| format!("-icount shift={shift},sleep=off -rtc base=2026-01-01,clock=vm"));
    let memory = if options.prealloc { "-mem-prealloc" } else { "" };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let cpu = options.qemu.cpu.as_deref().unwrap_or(match accelerator {
        Accelerator::Kvm => "host",
        Accelerator::Tcg => "max",
    });
    let accelerator = match (accelerator, options.icount) {
        (Accelerator::Kvm, _) => "kvm",
        (Accelerator::Tcg, None) => "tcg,thread=multi",
        // Counting needs all CPUs on one thread.
        (Accelerator::Tcg, Some(_)) => "tcg,thread=single",
    };
    let named = ["-machine", &options.qemu.machine, "-accel", accelerator, "-cpu", cpu].map(String::from);
    [named.to_vec(), words(DEVICES), words(&size), words(memory), words(&count.unwrap_or_default())]
        .into_iter()
        .flatten()
}

/// What the user adds to QEMU's arguments. It comes last, so that it wins.
pub fn users_words(options: &Options) -> impl Iterator<Item = &String> {
    options.qemu.more.iter().flat_map(|words| &words.0)
}

/// `OPTIONS,file=PATH`; QEMU reads a doubled comma as a comma of the path.
fn with_file(options: &str, path: &Path) -> OsString {
    with_path(options, "file", path)
}

/// QEMU options that name a file by this word.
fn with_path(options: &str, word: &str, path: &Path) -> OsString {
    let mut bytes = format!("{options},{word}=").into_bytes();
    for &byte in OsStr::as_bytes(path.as_os_str()) {
        bytes.extend(if byte == b',' { &b",,"[..] } else { std::slice::from_ref(&byte) });
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use std::ffi::OsString;

    fn machine(options: &Options, orders: &Orders) -> Machine {
        let choice = Choice { accelerator: Accelerator::Tcg, reason: String::new() };
        Machine::new(choice, options, Image::at("/disk.img"), orders).unwrap()
    }

    fn shown(words: &[&str], orders: &Orders) -> String {
        let words = words.iter().chain(&["--accel", "tcg"]).map(OsString::from).collect();
        let options = cli::parse_run_arguments(words).unwrap().machine;
        machine(&options, orders).shown()
    }

    #[test]
    fn options_become_arguments() {
        let shown = shown(&["--cpus", "4", "--memory", "8G", "--gdb"], &Orders::default());
        for part in [
            "-accel tcg,thread=multi -cpu max",
            "-smp 4 -m 8G",
            "-gdb tcp::1234 -S",
            "file=/disk.img",
            "-no-reboot",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(!shown.contains("icount") && !shown.contains("fw_cfg"), "{shown}");
    }

    #[test]
    fn the_users_machine_cpu_and_words_are_taken() {
        let words = ["--machine", "q35,pit=off", "--cpu", "qemu64,-x2apic", "--emulator", "/q/qemu"];
        let more = ["--qemu", "-L '/a folder'", "--qemu", "-s"];
        let shown = shown(&[&words[..], &more].concat(), &Orders::default());
        assert!(shown.starts_with("/q/qemu -machine q35,pit=off "), "{shown}");
        assert!(shown.contains(" -cpu qemu64,-x2apic "), "{shown}");
        assert!(shown.ends_with(" -L '/a folder' -s"), "{shown}");
    }

    #[test]
    fn counted_machines_take_nothing_from_the_computers_clock() {
        let shown = shown(&["--icount=3"], &Orders::default());
        for part in ["thread=single", "-smp 1", "-icount shift=3,sleep=off", "-rtc base=2026-01-01,clock=vm"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    #[test]
    fn orders_are_files_with_the_exact_content() {
        let orders = Orders {
            parameters: "a=1,2".into(),
            commands: Some("help; sysctl x=1,y".into()),
            filter: Some(String::new()),
            ..Orders::default()
        };
        let words = ["--accel", "tcg"].iter().map(OsString::from).collect();
        let options = cli::parse_run_arguments(words).unwrap().machine;
        let machine = machine(&options, &orders);
        let content: Vec<_> = machine
            .orders
            .iter()
            .map(|(name, path)| (*name, std::fs::read_to_string(path).unwrap()))
            .collect();
        assert_eq!(
            content,
            [
                (FW_CFG_PARAMETERS, "a=1,2".to_owned()),
                (FW_CFG_COMMANDS, "help; sysctl x=1,y".to_owned()),
                (FW_CFG_FILTER, String::new())
            ]
        );
    }

    #[test]
    fn commas_in_paths_are_doubled() {
        assert_eq!(with_file("a=b", Path::new("/x,y")), "a=b,file=/x,,y");
    }
}
