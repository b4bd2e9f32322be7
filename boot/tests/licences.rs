//! All that is built must be free to use as this project is: under MIT, or under Apache-2.0.

use std::env;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

/// What may be asked of who uses the project, whichever of its two licences he takes.
const ALLOWED: [&str; 5] =
    ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unlicense", "Unicode-3.0"];

/// Where packages may come from, besides this workspace.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    rust_version: Option<String>,
}

/// All packages that `Cargo.lock` names.
fn packages() -> Vec<Package> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let out = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice::<Metadata>(&out.stdout).unwrap().packages
}

/// Whether a licence expression can be met with what is allowed: `AND` binds more strongly than `OR`, and an old `/`
/// means `OR`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest) && rest.is_empty()
}

fn any(words: &mut &[&str]) -> bool {
    let mut met = all(words);
    while let ["OR", rest @ ..] = words {
        *words = rest;
        met |= all(words);
    }
    met
}

fn all(words: &mut &[&str]) -> bool {
    let mut met = one(words);
    while let ["AND", rest @ ..] = words {
        *words = rest;
        met &= one(words);
    }
    met
}

fn one(words: &mut &[&str]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let met = any(words);
            match *words {
                [")", rest @ ..] => {
                    *words = rest;
                    met
                }
                _ => false,
            }
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(&format!("{licence} WITH {exception}").as_str())
        }
        [licence, rest @ ..] => {
            *words = rest;
            ALLOWED.contains(licence)
        }
        [] => false,
    }
}

#[test]
fn each_package_is_free_enough_and_comes_from_the_registry() {
    for package in packages() {
        let name = format!("{} {}", package.name, package.version);
        let licence = package.license.unwrap_or_default();
        assert!(is_allowed(&licence), "{name}: its licence is {licence:?}");
        match package.source.as_deref() {
            None => assert!(package.rust_version.is_some(), "{name} does not say which Rust it needs"),
            Some(source) => assert_eq!(source, REGISTRY, "{name}"),
        }
    }
}

#[test]
fn expressions_are_read_as_they_are_meant() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception",
        "GPL-3.0 AND X OR MIT",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR Apache-2.0) AND GPL-3.0",
        "GPL-3.0 WITH LLVM-exception",
        "(MIT",
        "MIT Apache-2.0",
    ] {
        assert!(!is_allowed(bad), "{bad}");
    }
}
