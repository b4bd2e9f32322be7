//! How many commands failed that the host handed over: what it is told at the end.

use crate::drivers::{power, serial};
use core::sync::atomic::{AtomicUsize, Ordering};
use protocol::{Exit, Record};

/// Commands that failed, of those that the host handed over.
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// Tells the host how many commands failed, and powers off.
pub(super) fn power_off() -> ! {
    let failed = FAILED.load(Ordering::Relaxed);
    serial::write_record(Record::CommandsDone { failed });
    power::exit(if failed == 0 { Exit::Success } else { Exit::Failure });
}

/// A command failed.
pub(super) fn count() {
    FAILED.fetch_add(1, Ordering::Relaxed);
}

/// Forgets what failed, for a console at which a person has seen it.
pub(super) fn forget() {
    FAILED.store(0, Ordering::Relaxed);
}
