//! The user's folder and the checkout: paths are meant from the one, and the build is that of the other.

mod scripts;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use scripts::write_script;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().canonicalize().unwrap()
}

/// A `cargo` that says where it is started, what it is told of the user's folder, and its last word.
const CARGO: &str =
    r#"for last; do :; done; printf '%s|%s|%s|%s' "$PWD" "$VMALLOC_CURRENT_DIR" "$CARGO_TARGET_DIR" "$last""#;

/// The name of a folder, as some users have them.
const ODD: &str = "check out, größe 猫";

fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Seen failing with the cargo of the user's folder, whose `.cargo/config.toml` then decided the build.
#[test]
fn run_sh_builds_in_the_checkout_and_names_the_users_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let (other, user) = (folder.join(ODD), folder.join("us er"));
    fs::create_dir_all(other.join("boot")).unwrap();
    fs::create_dir(&user).unwrap();
    // What installs nothing, and takes the first cargo there is.
    fs::write(
        other.join("boot/setup.sh"),
        "host=x; toolchain() { :; }; room() { :; }; machine_packages() { :; }; say() { :; }\n",
    )
    .unwrap();
    fs::copy(checkout().join("run.sh"), other.join("run.sh")).unwrap();
    write_script(&folder.join("cargo"), CARGO);
    let path = format!("{}:{}", folder.display(), env::var("PATH").unwrap());
    let mut command = Command::new("/bin/bash");
    command.args([&format!("../{ODD}/run.sh"), "exec", "help"]).current_dir(&user);
    command.env("PATH", path).env("CARGO_TARGET_DIR", "made");
    let expected = format!("{}|{}|{}/made|help", other.display(), user.display(), user.display());
    assert_eq!(said(&mut command), expected);
}

/// Seen failing with the current folder of the runner, which is the checkout, or a package where cargo runs tests.
#[test]
fn cargos_runner_builds_in_the_checkout_and_names_the_folder_that_cargo_is_in() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap().join(ODD);
    fs::create_dir(&folder).unwrap();
    let (cargo, elf) = (folder.join("cargo"), folder.join("kernel"));
    write_script(&cargo, CARGO);
    fs::write(&elf, "any kernel").unwrap();
    // The shell stands for the outer cargo, which starts tests in another folder than its own.
    let outer =
        format!("(cd / && exec '{}/boot/runner.sh' '{}' word); exit", checkout().display(), elf.display());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &outer]).current_dir(&folder).env("CARGO", cargo).env("CARGO_TARGET_DIR", "made");
    let expected = format!("{}|{}|{}/made|word", checkout().display(), folder.display(), folder.display());
    assert_eq!(said(&mut command), expected);
}

/// Seen failing with the folder that this program was started in.
#[test]
fn a_relative_path_is_meant_from_the_users_folder() {
    let folder = tempfile::tempdir().unwrap();
    write_script(&folder.path().join("qemu"), "echo something else");
    let mut command = Command::new(env!("CARGO_BIN_EXE_boot"));
    command.args(["exec", "help", "--emulator", "./qemu"]).current_dir("/").stdin(Stdio::null());
    let output = command.env("VMALLOC_CURRENT_DIR", folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("./qemu: is no QEMU"), "{said}");
}

/// Seen failing, in a checkout that had been moved, with the folder that was compiled in.
#[test]
fn a_checkout_that_was_copied_with_all_that_was_built_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("boot");
    let mut command = Command::new(env!("CARGO_BIN_EXE_boot"));
    let output = command.args(["rooms", "boot"]).env("CARGO_MANIFEST_DIR", &package).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("cannot read {}/", package.display())), "{said}");
}
