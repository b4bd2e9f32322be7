//! What people do to programs: signals at any moment, closed streams, full and read-only disks, two at once, odd
//! emulators, odd names of folders. The answer is one line that names what is wrong, and nothing stays behind.
//!
//! A script stands for QEMU, and files of any content, or this program, for kernels.

#[path = "../awaited/mod.rs"]
mod awaited;
mod disks;
mod emulators;
mod kernels;
mod lacking;
mod lies;
mod options;
#[path = "../scripts/mod.rs"]
mod scripts;
mod signals;
mod streams;
mod twice;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use scripts::write_script;
use tempfile::TempDir;

// This program is a test kernel, as far as the host program can tell before it is booted.
protocol::test_kernel!();

/// A record of the kernel's, for `printf`.
const RECORD: &str = r"\036";

/// A console that knows `poweroff`, and says all else again.
const CONSOLE: &str = r#"printf '\036console\n> '
while read -r line; do
    printf '%s\n' "$line"
    [ "$line" = poweroff ] && exit 33
done
exit 1"#;

/// A folder with a kernel and a QEMU that is none.
struct Place(TempDir);

impl Place {
    /// The machine with a kernel is the script `machine`; others are made, and end.
    fn new(machine: &str) -> Self {
        Self::within(tempfile::tempdir().unwrap(), machine)
    }

    fn within(folder: TempDir, machine: &str) -> Self {
        let qemu = format!(
            "case $1 in --version) echo QEMU emulator version 7.2; exit ;; esac\n\
            case $* in *virtio-blk*) ;; *) exit 0 ;; esac\n{machine}"
        );
        write_script(&folder.path().join("qemu"), &qemu);
        fs::write(folder.path().join("kernel"), "any kernel").unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The host program, that boots the kernel to its console.
    fn console(&self) -> Command {
        self.boot(Path::new(env!("CARGO_BIN_EXE_boot")), &self.path("kernel"))
    }

    /// The host program, that runs the tests of a test kernel.
    fn tests(&self) -> Command {
        self.boot(Path::new(env!("CARGO_BIN_EXE_boot")), &std::env::current_exe().unwrap())
    }

    fn boot(&self, program: &Path, kernel: &Path) -> Command {
        let mut command = Command::new(program);
        command.arg("run-elf").arg(kernel).args(["--accel", "tcg", "--emulator"]).arg(self.path("qemu"));
        command.stdin(Stdio::null());
        command
    }
}

/// The exit status, and what was said on standard error. A log that it names is removed: it would come in the place of
/// one that a user wants.
fn said(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for log in said.lines().filter_map(|line| line.strip_prefix("boot: all that the machine said is in ")) {
        // As it was named: from the checkout, if `run.sh` was started there.
        fs::remove_file(Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(log)).unwrap();
    }
    (output.status.code(), said)
}

/// Looks for the one line of this program that says what is wrong.
fn assert_one_line(output: &Output, status: i32, named: &str) {
    let (code, said) = said(output);
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with("boot: QEMU with TCG")).collect();
    assert_eq!(code, Some(status), "{said}");
    assert!(
        lines.len() == 1 && lines[0].starts_with("boot: ") && lines[0].contains(named),
        "{named}: {said}"
    );
}
