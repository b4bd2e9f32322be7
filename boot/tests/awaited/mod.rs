//! Waiting for what another process does, for the tests of this package.

use std::thread;
use std::time::{Duration, Instant};

/// What takes longer than this does not happen.
const FAR: Duration = Duration::from_secs(600);

/// Waits until there is something, and gives it.
pub(crate) fn awaited<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < FAR, "{what}: never seen");
        thread::sleep(Duration::from_millis(10));
    }
}
