//! Histories for libFuzzer: bytes are read as the numbers that draw the steps. One that fails is shrunk, and printed as
//! a list that `./run.sh fuzz FILE` runs.

#![no_main]

use fuzz::{History, shrink::shrink};
use libfuzzer_sys::fuzz_target;

/// Runs that shrinking may take.
const TRIES: usize = 20_000;

fuzz_target!(|bytes: &[u8]| {
    let history = History::of_bytes(bytes);
    if let Err(failure) = history.run() {
        let shrunk = shrink(history, failure, TRIES, History::run);
        panic!(
            "{}\nThe list, to be kept in a file that ./run.sh fuzz runs:\n{}",
            shrunk.failure, shrunk.history
        );
    }
});
