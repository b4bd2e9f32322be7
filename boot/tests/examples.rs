//! How much a kernel has to write to take the library: the examples' lines, counted.

use std::fs;
use std::path::Path;

/// The lines of an example.
fn lines(example: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("kernel/examples");
    let content = fs::read_to_string(folder.join(example)).unwrap();
    content.lines().map(|line| line.trim().to_owned()).collect()
}

/// The lines between `// glue: begin` and `// glue: end` that are neither blank nor comments.
fn glue(lines: &[String]) -> usize {
    let (mut is_glue, mut count) = (false, 0);
    for line in lines {
        match line.as_str() {
            "// glue: begin" => assert!(!std::mem::replace(&mut is_glue, true), "glue begins twice"),
            "// glue: end" => assert!(std::mem::replace(&mut is_glue, false), "glue ends twice"),
            code => count += usize::from(is_glue && !code.is_empty() && !code.starts_with("//")),
        }
    }
    assert!(!is_glue && count > 0, "glue begins and ends");
    count
}

/// Seen failing with a limit of one line less than there are.
#[test]
fn the_glue_of_the_examples_is_short() {
    let examples =
        [("tests/one_cpu.rs", 9), ("multiboot2/tests/multiboot2/main.rs", 9), ("tests/several_cpus.rs", 25)];
    for (example, most) in examples {
        let count = glue(&lines(example));
        println!("{example}: {count} lines of glue");
        assert!(count <= most, "{example} has {count} lines of glue, more than {most}");
    }
    let whole = lines("tests/one_cpu.rs").len();
    assert!(whole < 60, "the example of one CPU has {whole} lines, its heap and stack included");
}

#[test]
fn lines_of_code_are_counted_and_comments_are_not() {
    let lines = ["a", "// glue: begin", "b", "", "// c", "d();", "// glue: end", "e"].map(str::to_owned);
    assert_eq!(glue(&lines), 2);
}
