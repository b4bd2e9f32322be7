//! The lesson in `docs/lesson`: every command in it runs, and every file that it names is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The chapters, and the page before them: each with its text.
fn chapters() -> Vec<(PathBuf, String)> {
    let files = fs::read_dir(root().join("docs/lesson")).unwrap().map(|file| file.unwrap().path());
    let mut chapters: Vec<_> = files.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    chapters.sort();
    assert_eq!(chapters.len(), 6);
    chapters
}

/// The lines of the blocks that are marked as a shell's.
fn commands(text: &str) -> Vec<&str> {
    let mut lines = text.lines();
    let mut commands = Vec::new();
    while lines.by_ref().any(|line| line == "```sh") {
        commands.extend(lines.by_ref().take_while(|line| *line != "```"));
    }
    commands
}

/// Seen failing with an experiment of another name in a chapter.
#[test]
fn every_command_of_the_lesson_runs() {
    let chapters = chapters();
    let mut all: Vec<_> = chapters.iter().flat_map(|(_, text)| commands(text)).collect();
    all.sort_unstable();
    all.dedup();
    assert!(all.len() >= 8, "{all:?}");
    for command in all {
        println!("{command}");
        let shell =
            Command::new("/bin/bash").args(["-c", command]).current_dir(root()).stdin(Stdio::null()).output();
        let output = shell.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {}\n{said}", output.status);
    }
}

/// Seen failing with a file that is not there.
#[test]
fn every_file_that_the_lesson_names_is_there() {
    let mut links = 0;
    for (path, text) in chapters() {
        for part in text.split("](").skip(1) {
            let link = part.split(')').next().unwrap().split('#').next().unwrap();
            assert!(path.parent().unwrap().join(link).exists(), "{}: {link}", path.display());
            links += 1;
        }
    }
    assert!(links > 15, "{links}");
}
