//! Builds through cargo and learns what it made.

mod workspace;

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

pub use self::workspace::tested_library;
use crate::child;
use crate::places::root;
use crate::status::{Doing, Error, Result};

/// The package of the kernel.
const KERNEL: &str = "kernel";

/// The packages of kernels; all others of the workspace run on the host. Each group is built alone, because cargo gives
/// the packages that it builds together the features of all, and the examples have no heap for some of this kernel's.
const KERNELS: [&[&str]; 2] = [&[KERNEL], &["examples", "example-multiboot2"]];

/// The package of QEMU's plugin.
const COUNTER: &str = "counter";

/// The packages with models that loom explores.
const MODELLED: [&str; 2] = ["vmalloc", "handover"];

/// Flags by which the compiler's intermediate representation shows all calls: nothing is inlined or left out, and each
/// path is there in full.
pub const CALLS: [&str; 3] = ["-Zinline-mir=no", "-Zmir-opt-level=0", "-Ztrim-diagnostic-paths=no"];

/// A program that cargo made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executable {
    /// The program.
    pub path: PathBuf,
    /// The folder of its package.
    pub package: PathBuf,
    /// The package's name, and that of the file in `tests/` if there is one.
    pub label: String,
    /// Whether it was built to run tests; cargo makes a package's plain
    /// programs too, for its tests to call.
    pub is_test: bool,
}

/// Builds the kernel to be measured.
///
/// # Errors
/// If it does not build; the compiler has said why.
pub fn kernel() -> Result<PathBuf> {
    let made = build("the kernel", &["build", "--release", "--package", KERNEL, "--bin", KERNEL])?;
    match made.as_slice() {
        [kernel] => Ok(kernel.path.clone()),
        _ => Err(Error::failed(format!("cargo made {} kernels instead of one", made.len()))),
    }
}

/// Builds the kernel with debug assertions.
///
/// # Errors
/// If it does not build; the compiler has said why.
pub fn checked_kernel() -> Result<PathBuf> {
    match build("the kernel with debug assertions", &["build", "--package", KERNEL, "--bin", KERNEL])?
        .as_slice()
    {
        [kernel] => Ok(kernel.path.clone()),
        made => Err(Error::failed(format!("cargo made {} kernels instead of one", made.len()))),
    }
}

/// Builds QEMU's plugin that counts.
///
/// # Errors
/// If it does not build; the compiler has said why.
pub fn counter() -> Result<PathBuf> {
    let arguments = ["build", "--release", "--package", COUNTER, "--target", "host-tuple"];
    let made =
        run("the counter, a plugin for QEMU", command(&arguments), |line| shared_object(line, COUNTER))?;
    match <[PathBuf; 1]>::try_from(made) {
        Ok([plugin]) => Ok(plugin),
        Err(made) => Err(Error::failed(format!("cargo made {} plugins instead of one", made.len()))),
    }
}

/// Builds what runs random sequences of the library's calls on the host.
///
/// # Errors
/// If it does not build; the compiler has said why.
pub fn fuzz() -> Result<PathBuf> {
    let arguments =
        ["build", "--profile", "fuzz", "--package", "fuzz", "--bin", "fuzz", "--target", "host-tuple"];
    match build("the random histories", &arguments)?.as_slice() {
        [fuzz] => Ok(fuzz.path.clone()),
        made => Err(Error::failed(format!("cargo made {} programs instead of one", made.len()))),
    }
}

/// Builds the test kernels.
///
/// # Errors
/// If one does not build; the compiler has said why.
pub fn test_kernels() -> Result<Vec<Executable>> {
    let mut kernels = Vec::new();
    for packages in KERNELS {
        let mut command = command(&["test", "--no-run"]);
        command.args(packages.iter().flat_map(|package| ["--package", package]));
        kernels.extend(run("the test kernels", command, executable)?);
    }
    Ok(kernels.into_iter().filter(|program| program.is_test).collect())
}

/// Builds the test programs of all packages that run on the host.
///
/// # Errors
/// If one does not build; the compiler has said why.
pub fn host_tests() -> Result<Vec<Executable>> {
    let mut command =
        command(&["test", "--no-run", "--target", "host-tuple", "--workspace", "--all-features"]);
    command.args(KERNELS.concat().iter().flat_map(|package| ["--exclude", package]));
    let made = run("the host tests", command, executable)?;
    Ok(made.into_iter().filter(|program| program.is_test).collect())
}

/// Returns whether a package has models.
#[must_use]
pub fn has_models(package: &str) -> bool {
    MODELLED.contains(&package)
}

/// Builds the models: the tests of those crates that take their atomics from loom where `cfg(loom)` says so. What cargo
/// makes with other flags has other names, so this spoils no other build.
///
/// # Errors
/// If one does not build; the compiler has said why.
pub fn models() -> Result<Vec<Executable>> {
    let packages = MODELLED.iter().flat_map(|package| ["--package", package]);
    modelled("the models", "--cfg loom", ["--lib"].into_iter().chain(packages))
}

/// Builds the tests that run the library in schedules that shuttle draws, which decides who goes on where `cfg(shuttle)`
/// says so. They spoil no other build either.
///
/// # Errors
/// If one does not build; the compiler has said why.
pub fn schedules() -> Result<Vec<Executable>> {
    let arguments = ["--package", "vmalloc", "--features", "host", "--test", "schedules"];
    modelled("the schedules", "--cfg shuttle", arguments.into_iter())
}

/// Builds tests with flags of the compiler's.
fn modelled<'a>(what: &str, flags: &str, which: impl Iterator<Item = &'a str>) -> Result<Vec<Executable>> {
    let mut command = command(&["test", "--no-run", "--target", "host-tuple"]);
    command.args(which);
    // By the variable that outranks whatever flags the user has set up: without this one they are no models.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", flags);
    let made = run(what, command, executable)?;
    Ok(made.into_iter().filter(|program| program.is_test).collect())
}

/// Builds a library, and returns the compiler's intermediate representation of it, in which calls are resolved.
///
/// It lies beside what other builds make, under another name, and spoils none of them.
///
/// # Errors
/// If it does not build; the compiler has said why.
pub fn intermediate(package: &str, target: &str) -> Result<String> {
    let what = format!("{package}, to see its calls");
    let arguments = ["rustc", "--package", package, "--lib", "--all-features", "--target", target];
    let mut command = command(&arguments);
    command.args(["--", "--emit=mir"]).args(CALLS);
    let made = run(&what, command, |line| metadata(line, package))?;
    let [metadata] = made.as_slice() else {
        return Err(Error::failed(format!(
            "cargo made {} libraries of {package} instead of one",
            made.len()
        )));
    };
    let name = metadata.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let file = metadata.with_file_name(name.trim_start_matches("lib")).with_extension("mir");
    std::fs::read_to_string(&file).doing(format_args!("read {}", file.display()))
}

/// Runs cargo in the workspace and lists the programs made.
fn build(what: &str, arguments: &[&str]) -> Result<Vec<Executable>> {
    run(what, command(arguments), executable)
}

/// Cargo in the workspace, that tells in messages what it makes.
fn command(arguments: &[&str]) -> Command {
    let mut command = plain(arguments);
    command.arg("--message-format=json-render-diagnostics");
    command
}

/// Cargo in the workspace, told nothing of the cargo that runs this program.
#[must_use]
pub fn plain(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // What an outer cargo says of its package must not reach an inner one.
    for (name, _) in env::vars_os() {
        let inherited = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if inherited.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes())) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs cargo, and lists what its messages tell of.
fn run<T>(what: &str, mut command: Command, told: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    eprintln!("boot: building {what}");
    child::ends_with_this_process(&mut command);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().doing("start cargo")?;
    let lines = child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
    let made: Vec<T> = lines.filter_map(|line| told(&line.ok()?)).collect();
    match child.wait().doing("wait for cargo")?.success() {
        true => Ok(made),
        false => Err(Error::failed(format!("{what} could not be built"))),
    }
}

/// The part of cargo's messages that is needed; documented with `cargo build --message-format`.
#[derive(Deserialize)]
struct Message {
    reason: String,
    executable: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// The program that a line of cargo's messages tells of, if any.
#[must_use]
pub fn executable(line: &str) -> Option<Executable> {
    let message: Message = serde_json::from_str(line).ok()?;
    if message.reason != "compiler-artifact" {
        return None;
    }
    let (path, target) = (message.executable?, message.target?);
    let package = message.manifest_path?.parent()?.to_owned();
    let label = match target.kind.iter().any(|kind| kind == "test") {
        true => format!("{} {}", package.file_name()?.display(), target.name),
        false => target.name,
    };
    Some(Executable { path, package, label, is_test: message.profile?.test })
}

/// The metadata of the library of that name that a line of cargo's messages tells of, if any.
fn metadata(line: &str, library: &str) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(line).ok()?;
    message.target.filter(|target| target.name == library && target.kind == ["lib"])?;
    message.filenames.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "rmeta"))
}

/// The shared object of the library of that name that a line of cargo's messages tells of, if any.
fn shared_object(line: &str, library: &str) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(line).ok()?;
    message.target.filter(|target| target.name == library && target.kind == ["cdylib"])?;
    message.filenames.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_found_among_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","target":{"kind":["cdylib"],"name":"x"},"filenames":["/t/libx.so"]}"#;
        assert_eq!(shared_object(line, "x"), Some("/t/libx.so".into()));
        assert_eq!(shared_object(line, "y"), None);
        assert_eq!(shared_object(&line.replace("cdylib", "lib"), "x"), None);
    }

    #[test]
    fn the_metadata_of_a_library_is_found_among_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"x"},"filenames":["/t/libx.rlib","/t/deps/libx-1.rmeta"]}"#;
        assert_eq!(metadata(line, "x"), Some("/t/deps/libx-1.rmeta".into()));
        assert_eq!(metadata(line, "y"), None);
        assert_eq!(metadata(r#"{"reason":"build-finished","success":true}"#, "x"), None);
    }

    #[test]
    fn programs_are_found_among_cargos_messages() {
        let line = |kind: &str, executable: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"x","manifest_path":"/w/kernel/Cargo.toml",
                "target":{{"kind":["{kind}"],"name":"guard"}},"profile":{{"opt_level":"1","test":{test}}},"executable":{executable},"fresh":true}}"#
            )
            .replace('\n', "")
        };
        let made = executable(&line("test", r#""/w/target/guard-1""#, true)).unwrap();
        assert_eq!((made.label.as_str(), made.is_test), ("kernel guard", true));
        assert_eq!((made.path, made.package), ("/w/target/guard-1".into(), "/w/kernel".into()));
        let made = executable(&line("bin", r#""/w/target/x""#, false)).unwrap();
        assert_eq!((made.label.as_str(), made.is_test), ("guard", false));
        assert_eq!(executable(&line("lib", "null", true)), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(executable("text of a build script"), None);
    }
}
