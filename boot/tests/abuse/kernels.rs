//! Tests that nobody runs: a file that no program has.

use std::fs;
use std::path::{Path, PathBuf};

/// The Rust files in a folder, and in those below it.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| self::files(folder));
    files.into_iter().chain(below).filter(|file| file.extension().is_some_and(|kind| kind == "rs")).collect()
}

/// Cargo compiles the test kernels that the manifest names, and no other.
///
/// Seen failing with a kernel, and a module of the suite, taken out.
#[test]
fn each_file_of_tests_is_a_test_kernel_or_a_module_of_one() {
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("kernel");
    let manifest = fs::read_to_string(kernel.join("Cargo.toml")).unwrap();
    let all = files(&kernel.join("tests"));
    assert!(all.len() > 50, "{}", all.len());
    for file in &all {
        let below = file.strip_prefix(&kernel).unwrap().display().to_string();
        let name = file.file_stem().unwrap().to_str().unwrap();
        let is_kernel = manifest.contains(&format!("path = \"{below}\""))
            || below == format!("tests/{name}.rs") && manifest.contains(&format!("name = \"{name}\""));
        let parents = [
            file.with_file_name("mod.rs"),
            file.with_file_name("main.rs"),
            file.parent().unwrap().with_file_name("main.rs"),
        ];
        let named =
            if name == "mod" { file.parent().unwrap().file_name().unwrap().to_str().unwrap() } else { name };
        let is_module = parents.iter().filter(|parent| *parent != file).any(|parent| {
            fs::read_to_string(parent).is_ok_and(|text| text.contains(&format!("mod {named};")))
        });
        assert!(is_kernel || is_module, "{below} is in no test kernel");
    }
}
