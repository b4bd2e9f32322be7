//! Folders with odd names, and disks that are full or read-only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use boot::suites::host_program::leave_out;

use crate::{CONSOLE, Place, assert_one_line};

/// A copy of the host program in a target folder of its own.
fn copy(place: &Place) -> PathBuf {
    let target = place.path("target");
    fs::create_dir_all(target.join("debug")).unwrap();
    fs::write(target.join("CACHEDIR.TAG"), "").unwrap();
    let program = target.join("debug/boot");
    // Another process copies it: see `write_script`.
    let status = Command::new("cp").arg(env!("CARGO_BIN_EXE_boot")).arg(&program).status().unwrap();
    assert!(status.success());
    program
}

#[test]
fn folders_may_have_any_names() {
    let parent = tempfile::tempdir().unwrap();
    for name in ["with spaces", "größe 猫", "a,b=c", "-rf", "it's \"$HOME\" ;"] {
        let folder = tempfile::Builder::new().prefix(name).tempdir_in(&parent).unwrap();
        // The machine looks for its disk and its orders at the paths that QEMU would read.
        let machine = r#"for word; do
    case $word in
        *,file=*) file=$(printf '%s' "${word#*,file=}" | sed 's/,,/,/g'); [ -e "$file" ] || exit 5 ;;
    esac
done
printf '\036console\n'; exit 33"#;
        let place = Place::within(folder, machine);
        let mut command = place.boot(&copy(&place), &place.path("kernel"));
        let output = command.args(["--append", "x=1"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {output:?}");
    }
}

/// Runs a program in a mount namespace of its own, where `mount` is run first, in `folder`; `None` where that is not
/// allowed.
fn mounted(folder: &Path, mount: &str, program: &Command) -> Option<Output> {
    let allowed = |words: &[&str]| {
        let mut command = Command::new("unshare");
        let status = command.args(words).stderr(Stdio::null()).stdout(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let namespace = "--user --map-root-user --mount";
    let namespace: Vec<&str> = match allowed(&["--mount", "true"]) {
        true => vec!["--mount"],
        false => namespace.split(' ').collect(),
    };
    let here = folder.to_str().unwrap();
    if !allowed(&[&namespace[..], &["sh", "-c", &format!("cd \"$1\" && {mount}"), "sh", here]].concat()) {
        leave_out("nobody may mount anything here");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(namespace).args([
        "sh",
        "-c",
        &format!("cd \"$1\" && {mount} && shift && exec \"$@\""),
        "sh",
    ]);
    command.arg(folder).arg(program.get_program()).args(program.get_args());
    Some(command.stdin(Stdio::null()).env_remove("CARGO_TARGET_DIR").output().unwrap())
}

/// The host program, in a target folder in which something is mounted.
fn boot_mounted(place: &Place, mount: &str) -> Option<Output> {
    let mut program = place.boot(&copy(place), &place.path("kernel"));
    mounted(&place.path("target"), mount, program.args(["--append", "x=1"]))
}

/// Each folder that the host program writes to is full in its turn.
#[test]
fn a_full_disk_is_named() {
    for folder in ["images", "runs", "logs", "traces", "kvm"] {
        let place = Place::new(CONSOLE);
        // The folder itself takes all that there may be in it.
        let mount = format!("mkdir -p {folder} && mount -t tmpfs -o size=4k,nr_inodes=1 tmpfs {folder}");
        let Some(output) = boot_mounted(&place, &mount) else { return };
        match folder {
            // What is only remembered there is not missed.
            "kvm" => assert_eq!(output.status.code(), Some(0), "{output:?}"),
            _ => assert_one_line(&output, 1, &format!("target/{folder}")),
        }
    }
    // There is room for the folder, and none for the image.
    let place = Place::new(CONSOLE);
    let mount = "mkdir -p images && mount -t tmpfs -o size=64k tmpfs images";
    let Some(output) = boot_mounted(&place, mount) else { return };
    assert_one_line(&output, 1, "No space left");
}

#[test]
fn a_read_only_target_folder_is_named() {
    let place = Place::new(CONSOLE);
    let Some(output) = boot_mounted(&place, READ_ONLY) else { return };
    assert_one_line(&output, 1, "Read-only file system");
}

/// Makes the current folder one that nobody can write to.
const READ_ONLY: &str = "mount --bind . . && mount -o remount,bind,ro . && cd \"$PWD\"";

/// Seen failing with cargo's own words, which are several lines, and with a linker's that died.
#[test]
fn run_sh_names_a_checkout_in_which_nothing_can_be_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let full = "mkdir -p target && mount -t tmpfs -o size=1m tmpfs target";
    for (mount, named) in [(READ_ONLY, "cannot write to "), (full, "/target is full")] {
        let mut run_sh = Command::new("./run.sh");
        let Some(output) = mounted(root, mount, run_sh.args(["exec", "help"])) else {
            return;
        };
        let (status, said) = crate::said(&output);
        assert!(status == Some(4) && said.lines().count() == 1 && said.contains(named), "{status:?}: {said}");
    }
}
