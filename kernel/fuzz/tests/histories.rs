//! Histories that are run each time: some of fixed seeds, and all that failed once.

use fuzz::History;
use std::{fs, path::Path};

#[test]
fn histories_of_fixed_seeds_are_as_they_should_be() {
    for number in 0..60 {
        if let Err(failure) = History::draw(1, number, 1000).run() {
            panic!("{failure}\nshrink it by: ./run.sh fuzz --seed 1 --history {number} --length 1000");
        }
    }
}

#[test]
fn what_failed_once_does_not_any_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut count = 0;
    for file in fs::read_dir(folder).expect("the folder is there") {
        let file = file.expect("it can be listed").path();
        let text = fs::read_to_string(&file).expect("it can be read");
        let history: History = text.parse().expect("it is a history");
        if let Err(failure) = history.run() {
            panic!("{}: {failure}", file.display());
        }
        count += 1;
    }
    assert!(count > 0, "there is none");
}
