//! What `boot/setup.sh` does, and says, on computers that have less than this one.
//!
//! The computers are folders of small scripts that stand for all programs that the roads to a toolchain differ by.

mod scripts;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use scripts::write_script;
use tempfile::TempDir;

/// What every computer has.
const COMMON: [&str; 14] = [
    "bash", "cat", "cksum", "cut", "env", "grep", "head", "mktemp", "rm", "sed", "tail", "timeout", "uname",
    "sh",
];

/// A computer without Rust, QEMU and a compiler.
struct Computer {
    folder: TempDir,
    root: bool,
}

impl Computer {
    fn new(root: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("bin")).unwrap();
        fs::create_dir_all(folder.path().join("home")).unwrap();
        for program in COMMON {
            let place = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
            let place = place.into_iter().find(|place| place.exists()).unwrap();
            symlink(place, folder.path().join("bin").join(program)).unwrap();
        }
        Self { folder, root }
    }

    fn with(self, program: &str, script: &str) -> Self {
        let path = self.folder.path().join(program);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        write_script(&path, script);
        self
    }

    /// Debian's tools, with these packages to be had and nothing installed.
    fn debian(root: bool, packages: &str) -> Self {
        let candidates = format!(
            "case \" {packages} \" in *\" $2 \"*) echo '  Candidate: 1.0' ;; *) echo '  Candidate: (none)' ;; esac"
        );
        Self::new(root)
            .with("bin/apt-cache", &candidates)
            .with("bin/dpkg-query", "exit 1")
            .with("bin/apt-get", "echo \"E: asked for $*\"; exit 100")
    }

    /// The exit status of `commands` after `boot/setup.sh` was read, and all that was said.
    fn run(&self, home: Option<&str>, commands: &str) -> (i32, String) {
        let as_root = if self.root { "as_root() { \"$@\"; }" } else { "as_root() { return 1; }" };
        let script = format!("set -euo pipefail; source boot/setup.sh; {as_root}; {commands}");
        let mut command = Command::new("/bin/bash");
        command.arg("-c").arg(script).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap());
        command.env_clear().env("PATH", self.folder.path().join("bin")).stdin(Stdio::null());
        if let Some(home) = home {
            command.env("HOME", self.folder.path().join(home));
        }
        // No finished toolchain of this checkout's.
        command.env("debian_of_test", self.folder.path().join("toolchain"));
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    fn toolchain(&self) -> (i32, String) {
        self.run(Some("home"), "debian=$debian_of_test; toolchain")
    }
}

/// Who may not install packages is told of rustup, in one line.
#[track_caller]
fn told_of_rustup(computer: &Computer) -> String {
    let (status, said) = computer.toolchain();
    assert_eq!((status, said.lines().count()), (4, 1), "{said}");
    assert!(
        said.contains("install rustup, which needs no root") && said.contains("https://sh.rustup.rs"),
        "{said}"
    );
    said
}

#[test]
fn without_home_it_is_what_the_system_says() {
    let (status, said) = Computer::new(false).run(None, "home; printf '%s' \"$HOME\"");
    let passwd = Command::new("bash").args(["-c", "unset HOME; printf %s ~"]).output().unwrap().stdout;
    assert_eq!((status, said), (0, String::from_utf8(passwd).unwrap()));
}

#[test]
fn a_home_where_nothing_can_be_written_is_named_in_one_line() {
    let (status, said) = Computer::new(false).run(Some("nosuch"), "home");
    assert_eq!((status, said.lines().count(), said.contains("nosuch")), (4, 1, true), "{said}");
}

/// Seen failing with a home asked for that only rustup would have written to.
#[test]
fn a_home_is_needed_by_who_writes_there_alone() {
    let ready = "export CARGO_HOME=/; debian_ready() { true; }; toolchain; echo all there";
    let (status, said) = Computer::new(false).run(Some("nosuch"), ready);
    assert_eq!((status, said.as_str()), (0, "all there\n"));
    let computer = Computer::new(false).with("bin/rustup", "echo 'error: no network'; exit 1");
    let (status, said) =
        computer.run(Some("nosuch"), "export CARGO_HOME=/; debian=$debian_of_test; toolchain");
    assert_eq!((status, said.lines().count()), (4, 1), "{said}");
    assert!(said.contains("RUSTUP_HOME") && said.contains("nosuch"), "{said}");
}

/// Seen failing with one line for everybody, of rustup's site and of Debian's six packages.
#[test]
fn who_is_not_root_is_told_of_rustup_first_and_of_what_root_could_do() {
    let said = told_of_rustup(&Computer::new(false));
    assert!(!said.contains("as root"), "{said}");
    let said = told_of_rustup(&Computer::debian(false, "rustc-web"));
    assert!(said.contains("as root: apt-get install rustc-web"), "{said}");
    let said = told_of_rustup(&Computer::debian(false, "rustup rustc-web"));
    assert!(said.contains("as root: apt-get install rustup)") && !said.contains("rustc-web"), "{said}");
    let said = told_of_rustup(&Computer::debian(false, ""));
    assert!(!said.contains("as root"), "{said}");
}

/// Seen failing with Debian's Rust as the only package.
#[test]
fn root_gets_rustups_package_where_there_is_one_and_debians_rust_where_there_is_none() {
    for (packages, asked) in [("rustup rustc-web", " rustup"), ("rustc-web", " rustc-web cargo-web")] {
        let (status, said) = Computer::debian(true, packages).toolchain();
        let line =
            said.lines().find(|line| line.contains("apt-get install")).unwrap_or_else(|| panic!("{said}"));
        assert!(status == 4 && line.contains(asked), "{packages}: {said}");
    }
}

/// Seen failing with the line as the end of all.
#[test]
fn without_grub_a_line_names_its_packages_and_all_else_goes_on() {
    for computer in [Computer::new(false), Computer::debian(true, "")] {
        let (status, said) = computer.run(Some("home"), "grub_packages; echo all else");
        assert!(status == 0 && said.starts_with("all else\n"), "{said}");
        let named = said.lines().filter(|line| line.contains("grub-common") && line.contains("xorriso"));
        assert!(named.count() >= 1, "{said}");
    }
    let (_, said) = Computer::new(false).run(Some("home"), "grub_packages");
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// Seen failing without --no-remove.
#[test]
fn a_package_that_is_in_the_way_is_not_removed() {
    let (_, said) = Computer::debian(true, "rustup").toolchain();
    assert!(said.contains("E: asked for install -y --no-remove"), "{said}");
}

/// Seen failing with QEMU installed all the same, and without the look at each step of the unpacking.
#[test]
fn qemu_is_unpacked_beside_a_package_that_it_would_displace() {
    let computer = || {
        let apt_get = "case \"$*\" in *--simulate*) echo 'E: Packages need to be removed but remove is disabled.' >&2; \
                       exit 100 ;; download*) : >qemu-system-x86_7.2.deb ;; *) echo \"asked for $*\" >>\"$said\" ;; esac";
        Computer::debian(true, "")
            .with("bin/cc", "")
            .with("bin/apt-get", apt_get)
            .with("bin/ln", "echo \"linked $*\" >>\"$said\"")
    };
    let commands = "export said=$(mktemp); OVMF_PATH=/bin/bash; machine_packages; cat $said";
    let unpacking = "case $1 in --field) echo 'libc6 (>= 2.36), qemu-system-common (= 7.2), libfdt1' ;; \
                     *) echo \"$*\" >>\"$said\" ;; esac";
    let (status, said) = computer().with("bin/dpkg-deb", unpacking).run(Some("home"), commands);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("--extract qemu-system-x86_7.2.deb /opt/qemu-system-x86\n"), "{said}");
    assert!(
        said.contains("satisfy -y --no-remove --no-install-recommends libc6 (>= 2.36), libfdt1\n"),
        "{said}"
    );
    assert!(
        said.contains("linked -sf /opt/qemu-system-x86/usr/bin/qemu-system-x86_64 /usr/local/bin/"),
        "{said}"
    );
    assert!(!said.contains("asked for install"), "{said}");
    let (status, said) =
        computer().with("bin/dpkg-deb", "echo no space; [ $1 = --field ]").run(Some("home"), commands);
    assert_eq!(status, 4, "{said}");
    assert!(
        said.contains("no space") && said.contains("QEMU could not be unpacked") && !said.contains("linked"),
        "{said}"
    );
}

/// Seen failing with a look at PATH alone.
#[test]
fn rustup_is_found_where_its_installer_puts_it() {
    let computer = Computer::new(false).with("home/.cargo/bin/rustup", "echo 'error: no network'; exit 1");
    let (status, said) = computer.toolchain();
    assert_eq!(status, 4, "{said}");
    assert!(said.contains("rustup could not: error: no network"), "{said}");
    assert!(said.lines().last().unwrap().contains("rustup toolchain install"), "{said}");
}

/// Seen failing with a line for the first of them alone.
#[test]
fn packages_are_asked_for_in_one_line() {
    let computer = Computer::debian(false, "");
    let (status, said) = computer.run(Some("home"), "machine_packages; echo all there");
    assert_eq!((status, said.lines().count()), (4, 1), "{said}");
    assert!(said.contains("as root: apt-get install gcc libc6-dev qemu-system-x86"), "{said}");
    let (_, said) = computer.run(Some("home"), "machine_packages exec help --emulator=/q; echo all there");
    assert!(said.contains("gcc") && !said.contains("qemu-system-x86"), "{said}");
}
