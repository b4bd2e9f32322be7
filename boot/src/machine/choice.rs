//! Chooses what runs the guest's instructions: KVM or TCG.
//!
//! `/dev/kvm` may exist and open where no guest can run on it, and QEMU then
//! hangs or asserts. So KVM is used only where the CPU has the extension, a
//! trial machine of three instructions has run to its end, *and* so has a
//! trial boot of the kernel; else all is emulated, and the line that announces
//! the machine says why. The user's `--accel kvm` needs no trial boot, so that
//! what fails there can be looked at.

use std::fs::{self, OpenOptions};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use protocol::Exit;

use super::accelerator::{Accelerator, Choice};
use super::image::Image;
use super::options::{Accel, Options};
use super::qemu;
use super::qemu::{Machine, Orders};
use crate::scratch::Scratch;
use crate::session::How;
use crate::session::patience::Limit;
use crate::status::{Doing, Error, Result, Status};
use crate::{places, session};

/// How long the trial machine may take. It has three instructions to run.
const TRIAL: Limit = Limit::All(Duration::from_secs(5));

/// How long the trial boot may take; on KVM it takes some seconds.
const BOOT: Limit = Limit::All(Duration::from_secs(60));

/// What the trial machine writes to QEMU's exit port.
const TRIAL_VALUE: u8 = 0x2a;

/// Does as the user asks if that works here; `image` is the disk of the kernel that is to run.
///
/// # Errors
/// Of status [`Status::Unfit`] if the user asks
/// for KVM and it does not work here.
pub fn choose(options: &Options, image: &Image) -> Result<Choice> {
    Computer::this()?.choose(options, image)
}

/// What a machine without a kernel would be run by, as far as that tells: KVM where the trial machine ends, though a
/// trial boot may yet fail.
///
/// # Errors
/// If a signal wants this program to end.
pub fn without_kernel(options: &Options) -> Result<Accelerator> {
    Computer::this()?.without_kernel(options)
}

/// Whether something works on KVM; if not, why.
type Works = std::result::Result<(), String>;

/// What an error says of KVM: why it does not work, or nothing, because a signal wants this program to end.
fn says(error: Error) -> Result<Works> {
    match error.status {
        Status::Interrupted(_) => Err(error),
        _ => Ok(Err(error.message)),
    }
}

/// What of a computer says whether KVM may work.
struct Computer {
    cpuinfo: PathBuf,
    device: PathBuf,
    /// What came of the trial boot: one for all machines of this process.
    booted: &'static OnceLock<Works>,
    /// The file that says for which machine a trial boot ended well, so that the next process needs none.
    record: PathBuf,
}

impl Computer {
    fn this() -> Result<Self> {
        static BOOTED: OnceLock<Works> = OnceLock::new();
        let record = places::target_folder("kvm")?.join("booted");
        Ok(Self { cpuinfo: "/proc/cpuinfo".into(), device: "/dev/kvm".into(), booted: &BOOTED, record })
    }

    fn choose(&self, options: &Options, image: &Image) -> Result<Choice> {
        let chosen = |accelerator, reason| Ok(Choice { accelerator, reason });
        match options.accel {
            Accel::Tcg => chosen(Accelerator::Tcg, String::new()),
            Accel::Auto if options.icount.is_some() => {
                chosen(Accelerator::Tcg, "instructions are counted".into())
            }
            Accel::Auto => {
                let works = match self.kvm_works(options)? {
                    Ok(()) => self.kernel_boots(options, image)?,
                    Err(why) => Err(why),
                };
                match works {
                    Ok(()) => chosen(Accelerator::Kvm, String::new()),
                    Err(why) => chosen(Accelerator::Tcg, format!("no KVM: {why}")),
                }
            }
            Accel::Kvm => match self.kvm_works(options)? {
                Ok(()) => chosen(Accelerator::Kvm, String::new()),
                Err(why) => Err(Error::unfit(format!("--accel kvm: {why}"))),
            },
        }
    }

    fn without_kernel(&self, options: &Options) -> Result<Accelerator> {
        Ok(match options.accel {
            Accel::Tcg => Accelerator::Tcg,
            Accel::Kvm => Accelerator::Kvm,
            Accel::Auto if options.icount.is_none() && self.kvm_works(options)?.is_ok() => Accelerator::Kvm,
            Accel::Auto => Accelerator::Tcg,
        })
    }

    /// Whether a guest can run on KVM here.
    fn kvm_works(&self, options: &Options) -> Result<Works> {
        match self.has_kvm() {
            Ok(()) => trial(options, Accelerator::Kvm),
            Err(why) => Ok(Err(why)),
        }
    }

    /// Whether the computer says that it has KVM.
    fn has_kvm(&self) -> Works {
        let cpu = fs::read_to_string(&self.cpuinfo);
        let cpu = cpu.map_err(|error| format!("{}: {error}", self.cpuinfo.display()))?;
        if !has_virtualization(&cpu) {
            return Err("the CPU has neither vmx nor svm".into());
        }
        let device = OpenOptions::new().read(true).write(true).open(&self.device);
        device.map(drop).map_err(|error| format!("{}: {error}", self.device.display()))
    }

    /// Whether the kernel boots and ends on KVM here. It is asked for nothing: for a command that is there
    /// on each console, or for tests of a name that none has.
    fn kernel_boots(&self, options: &Options, image: &Image) -> Result<Works> {
        let boot = || {
            let orders = Orders {
                parameters: String::new(),
                commands: Some("help".into()),
                filter: Some("no test: a trial boot".into()),
                ..Orders::default()
            };
            let options = Options { gdb: None, prealloc: false, ..options.clone() };
            let choice = Choice { accelerator: Accelerator::Kvm, reason: String::new() };
            let machine = Machine::new(choice, &options, image.clone(), &orders)?;
            session::run(machine.command(), None, BOOT, &mut |_| ControlFlow::Continue(()))
        };
        self.remembered(options, || match boot().map(|end| end.how) {
            Ok(How::Exited(status)) if status == Exit::Success.qemu_status() => Ok(Ok(())),
            Ok(How::TimedOut) => Ok(Err("a trial boot of the kernel hung".into())),
            Ok(how) => Ok(Err(format!("a trial boot of the kernel failed: {how:?}"))),
            Err(error) => {
                Ok(says(error)?.map_err(|message| format!("a trial boot of the kernel failed: {message}")))
            }
        })
    }

    /// What came of this process's trial boot, or what comes of `boot`; nothing is remembered of one that a signal
    /// ended. Another process is told of the machine that has booted, and of no other.
    fn remembered(&self, options: &Options, boot: impl FnOnce() -> Result<Works>) -> Result<Works> {
        if let Some(booted) = self.booted.get() {
            return Ok(booted.clone());
        }
        // Another start of the computer may have brought another Linux, and other settings of KVM.
        let start = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let (cpus, memory) = (options.cpus(), options.memory);
        let machine = format!("{} {cpus} CPUs, {memory} {:?}\n", start.trim(), options.qemu);
        if fs::read_to_string(&self.record).is_ok_and(|record| record == machine) {
            return Ok(self.booted.get_or_init(|| Ok(())).clone());
        }
        let booted = boot()?;
        if booted.is_ok() {
            // Where it cannot be written the next process boots once more.
            let _ = fs::write(&self.record, machine);
        }
        Ok(self.booted.get_or_init(|| booted).clone())
    }
}

/// Whether the flags of `/proc/cpuinfo` have the extension of either maker.
fn has_virtualization(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm")
}

/// Whether a machine whose firmware is three instructions runs to its end.
///
/// # Errors
/// If a signal wants this program to end.
fn trial(options: &Options, accelerator: Accelerator) -> Result<Works> {
    let run = || {
        let folder = Scratch::within(&places::target_folder("runs")?)?;
        let rom = folder.path().join("rom");
        fs::write(&rom, trial_rom()).doing("write the trial machine's firmware")?;
        let mut command = Command::new(&options.qemu.program);
        command.args(qemu::bare_machine(options, accelerator)).args(qemu::EXIT_DEVICE);
        command.arg("-bios").arg(rom).args(qemu::users_words(options)).stdin(Stdio::null());
        session::run(command, None, TRIAL, &mut |_| ControlFlow::Continue(()))
    };
    let end = match run() {
        Ok(end) => end,
        Err(error) => return says(error),
    };
    Ok(match end.how {
        How::Exited(status) if status == i32::from(TRIAL_VALUE) << 1 | 1 => Ok(()),
        How::TimedOut => Err("a trial machine hung".into()),
        _ => Err(format!("a trial machine failed {}", end.stderr.lines().next().unwrap_or_default())),
    })
}

/// 64 KiB that end at 4 GiB, where a CPU starts in real mode 16 bytes below.
fn trial_rom() -> Vec<u8> {
    let mut rom = vec![0xf4; 64 << 10];
    let start = rom.len() - 16;
    // mov al, TRIAL_VALUE; out EXIT_PORT, al; the rest is hlt.
    let port = u8::try_from(protocol::EXIT_PORT).expect("the exit port has a short form");
    rom[start..start + 4].copy_from_slice(&[0xb0, TRIAL_VALUE, 0xe6, port]);
    rom
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::scripts::write_script;
    use std::ffi::OsString;
    use std::path::Path;

    fn options(words: &[&str]) -> Options {
        cli::parse_run_arguments(words.iter().map(OsString::from).collect()).unwrap().machine
    }

    #[test]
    fn the_trial_machine_runs_to_its_end_under_tcg() {
        assert_eq!(trial(&options(&[]), Accelerator::Tcg).unwrap(), Ok(()));
    }

    #[test]
    fn the_flags_decide_not_other_lines() {
        assert!(has_virtualization("processor: 0\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualization("flags : svm\n"));
        assert!(!has_virtualization("flags : fpu svm_lock\nvmx flags : vnmi\n"));
        assert!(!has_virtualization("model name : vmx svm\nflags : fpu\n"));
        assert!(!has_virtualization(""));
    }

    #[test]
    fn the_users_word_and_icount_mean_tcg() {
        for words in [&["--accel", "tcg"][..], &["--icount"]] {
            let choice = choose(&options(words), &Image::at("/disk.img")).unwrap();
            assert_eq!(choice.accelerator, Accelerator::Tcg, "{words:?}");
        }
    }

    /// What becomes of `words` on a computer with KVM, where the trial machine runs and a boot is `boot`, for a shell.
    fn with_kvm(words: &[&str], boot: &str) -> Choice {
        let folder = tempfile::tempdir().unwrap();
        let qemu = folder.path().join("qemu");
        fs::write(folder.path().join("cpuinfo"), "flags: vmx\n").unwrap();
        let trial = i32::from(TRIAL_VALUE) << 1 | 1;
        let script = format!("case \"$*\" in *virtio-blk*) {boot} ;; *) exit {trial} ;; esac");
        write_script(&qemu, &script);
        let computer = process(folder.path());
        let words = [words, &["--emulator", qemu.to_str().unwrap()]].concat();
        let choice = computer.choose(&options(&words), &Image::at("/disk.img")).unwrap();
        // Another process, for which no boot ends well.
        let later = process(folder.path());
        write_script(&qemu, &script.replace(boot, "exit 1"));
        let again = later.choose(&options(&words), &Image::at("/disk.img")).unwrap();
        assert_eq!(again.accelerator, choice.accelerator, "a boot that ended well is remembered, no other");
        choice
    }

    /// Seen failing with the three instructions as the only trial.
    #[test]
    fn kvm_on_which_the_kernel_does_not_boot_is_not_used_unless_the_user_wants_it() {
        for (boot, why) in [("exit 1", "failed"), ("kill -6 $$", "failed"), ("exit 0", "failed")] {
            let choice = with_kvm(&[], boot);
            assert_eq!(
                (choice.accelerator, choice.reason.contains(why)),
                (Accelerator::Tcg, true),
                "{choice:?}"
            );
            assert_eq!(choice.reason.lines().count(), 1);
            assert_eq!(with_kvm(&["--accel", "kvm"], boot).accelerator, Accelerator::Kvm);
        }
        let success = format!("exit {}", Exit::Success.qemu_status());
        assert_eq!(with_kvm(&[], &success), Choice { accelerator: Accelerator::Kvm, reason: String::new() });
    }

    /// A computer that remembers in `folder`, as another process of it sees it.
    fn process(folder: &Path) -> Computer {
        Computer {
            cpuinfo: folder.join("cpuinfo"),
            device: "/dev/null".into(),
            booted: Box::leak(Box::default()),
            record: folder.join("booted"),
        }
    }

    /// Seen failing with a signal that counted as a failed boot: the run went on under TCG.
    #[test]
    fn a_signal_during_a_trial_is_no_answer_and_not_remembered() {
        let signal = || Error { status: Status::Interrupted(2), message: String::new() };
        assert_eq!(says(signal()), Err(signal()));
        let folder = tempfile::tempdir().unwrap();
        let process = process(folder.path());
        assert_eq!(process.remembered(&options(&[]), || Err(signal())), Err(signal()));
        assert_eq!(process.remembered(&options(&[]), || Ok(Ok(()))), Ok(Ok(())));
    }

    /// Seen failing with a record of the machine that asked last, whose trial boot was another's.
    #[test]
    fn a_trial_boot_counts_for_its_own_machine_in_later_processes() {
        let folder = tempfile::tempdir().unwrap();
        let (booted, asked) = (options(&["--cpus", "2"]), options(&["--cpus", "64"]));
        let never = || panic!("no other trial boot");
        let first = process(folder.path());
        assert_eq!(first.remembered(&booted, || Ok(Ok(()))), Ok(Ok(())));
        // In one process it is asked once.
        assert_eq!(first.remembered(&asked, never), Ok(Ok(())));
        assert_eq!(process(folder.path()).remembered(&booted, never), Ok(Ok(())));
        let no = || Ok(Err("no".to_owned()));
        for other in [&asked, &options(&["--memory", "3G"]), &options(&["--cpu", "qemu64"])] {
            assert_eq!(process(folder.path()).remembered(other, no), Ok(Err("no".into())));
        }
    }

    /// Seen failing with TCG for `auto`, which knows no CPU model `host`.
    #[test]
    fn a_machine_is_asked_for_on_what_would_run_it() {
        let folder = tempfile::tempdir().unwrap();
        let qemu = folder.path().join("qemu");
        let process = process(folder.path());
        fs::write(&process.cpuinfo, "flags: vmx\n").unwrap();
        let trial = i32::from(TRIAL_VALUE) << 1 | 1;
        let words = |more: &[&str]| options(&[&["--emulator", qemu.to_str().unwrap()], more].concat());
        write_script(&qemu, &format!("exit {trial}"));
        for (more, accelerator) in [
            (&[][..], Accelerator::Kvm),
            (&["--cpu", "host"], Accelerator::Kvm),
            (&["--icount"], Accelerator::Tcg),
            (&["--accel", "tcg"], Accelerator::Tcg),
        ] {
            assert_eq!(process.without_kernel(&words(more)), Ok(accelerator), "{more:?}");
        }
        write_script(&qemu, "exit 1");
        assert_eq!(process.without_kernel(&words(&[])), Ok(Accelerator::Tcg));
        assert_eq!(process.without_kernel(&words(&["--accel", "kvm"])), Ok(Accelerator::Kvm));
    }
}
