//! Folders with odd names, and disks that are full or read-only.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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

/// Seen failing with a comma that QEMU takes for the end of a path.
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

/// Runs the host program in a mount namespace of its own, where `mount` is run first; `None` where that is not allowed.
fn mounted(place: &Place, mount: &str) -> Option<std::process::Output> {
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
    if !allowed(&[&namespace[..], &["sh", "-c", "mount -t tmpfs tmpfs /tmp"]].concat()) {
        println!("left out: nobody may mount anything here");
        return None;
    }
    let run = place.boot(&copy(place), &place.path("kernel"));
    let mut command = Command::new("unshare");
    command.args(namespace).args([
        "sh",
        "-c",
        &format!("cd \"$1\" && {mount} && shift && exec \"$@\""),
        "sh",
    ]);
    command.arg(place.path("target")).arg(run.get_program()).args(run.get_args()).args(["--append", "x=1"]);
    Some(command.stdin(Stdio::null()).output().unwrap())
}

/// Each folder that the host program writes to is full in its turn.
#[test]
fn a_full_disk_is_named() {
    for folder in ["images", "runs", "logs", "traces", "kvm"] {
        let place = Place::new(CONSOLE);
        // Of one page, which its own folder takes.
        let mount = format!("mkdir {folder} && mount -t tmpfs -o size=4k,nr_inodes=1 tmpfs {folder}");
        let Some(output) = mounted(&place, &mount) else { return };
        match folder {
            // What is only remembered there is not missed.
            "kvm" => assert_eq!(output.status.code(), Some(0), "{output:?}"),
            _ => assert_one_line(&output, 1, &format!("target/{folder}")),
        }
    }
    // There is room for the folder, and none for the image.
    let place = Place::new(CONSOLE);
    let mount = "mkdir images && mount -t tmpfs -o size=64k tmpfs images";
    let Some(output) = mounted(&place, mount) else { return };
    assert_one_line(&output, 1, "No space left");
}

#[test]
fn a_read_only_checkout_is_named() {
    let place = Place::new(CONSOLE);
    let Some(output) = mounted(&place, "mount --bind . . && mount -o remount,bind,ro . && cd .") else {
        return;
    };
    assert_one_line(&output, 1, "Read-only file system");
}
