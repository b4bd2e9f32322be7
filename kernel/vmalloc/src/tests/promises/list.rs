//! The README's list of what to do before the first call.

extern crate std;

use std::{format, fs, vec::Vec};

/// Each test that the list names is there. Seen failing with a name that has another letter.
#[test]
fn each_test_in_the_list_is_there() {
    let package = env!("CARGO_MANIFEST_DIR");
    let readme = fs::read_to_string(format!("{package}/README.md")).expect("the README");
    let named: Vec<_> = readme.split('`').filter_map(|word| word.split_once(".rs::")).collect();
    assert!(named.len() >= 10, "{named:?}");
    for (file, test) in named {
        let text = fs::read_to_string(format!("{package}/src/{file}.rs")).expect(file);
        assert!(text.contains(&format!("fn {test}()")), "{file}.rs has no {test}");
    }
}
