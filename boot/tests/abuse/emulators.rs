//! Emulators that are missing, old, mute, or none.

use crate::scripts::write_script;
use crate::{CONSOLE, Place, assert_one_line};

#[test]
fn an_emulator_that_is_none_is_named() {
    let place = Place::new(CONSOLE);
    let qemu = place.path("qemu");
    for (script, status) in [
        ("echo bash, version 5.2", 2),
        ("exit 0", 2),
        ("exit 3", 2),
        ("kill -9 $$", 2),
        // It has the right name, and refuses all else.
        (
            "case $1 in --version) echo QEMU emulator version 0.1 ;; *) echo \"$1: unknown\" >&2; exit 1 ;; esac",
            2,
        ),
    ] {
        write_script(&qemu, script);
        let output = place.console().output().unwrap();
        let named =
            if script.starts_with("case") { "QEMU refuses this machine: " } else { qemu.to_str().unwrap() };
        assert_one_line(&output, status, named);
    }
    std::fs::remove_file(&qemu).unwrap();
    assert_one_line(&place.console().output().unwrap(), 4, "is not installed");
    std::fs::write(&qemu, "no program").unwrap();
    assert_one_line(&place.console().output().unwrap(), 2, "Permission denied");
}

/// Where the machine itself cannot be started QEMU's own words are repeated.
#[test]
fn a_qemu_that_cannot_start_the_machine_is_what_the_computer_lacks() {
    let place = Place::new("echo 'qemu: no such device: virtio-blk-pci' >&2; exit 1");
    let output = place.console().output().unwrap();
    let (status, said) = crate::said(&output);
    assert_eq!(status, Some(4), "{said}");
    assert!(said.contains("qemu: no such device") && said.contains("boot: QEMU could not start"), "{said}");
}

/// Any version will do that makes the machine; nothing is read from the number.
#[test]
fn odd_versions_of_qemu_run() {
    for version in ["11.0.50 (v10.2.0-rc1-dirty)", "4.2.1 (Debian 1:4.2)", "x"] {
        let place = Place::new("");
        let machine = r"printf '\036console\n'; exit 33";
        let script = format!(
            "case $1 in --version) echo 'QEMU emulator version {version}' ;; esac\n\
            case $* in *virtio-blk*) {machine} ;; esac"
        );
        write_script(&place.path("qemu"), &script);
        let output = place.console().output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{version}: {output:?}");
    }
}
