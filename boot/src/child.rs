//! Programs that this one starts end with it; those that they start themselves do not.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Has Linux kill the program when this thread ends, and so when this process does, by SIGKILL too.
pub fn ends_with_this_process(command: &mut Command) {
    let this = rustix::process::getpid();
    let before_it_starts = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // This process may have ended before Linux was told, and somebody else has become the parent.
        if getppid() != Some(this) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        Ok(())
    };
    // SAFETY: runs in the new process, where only what is safe in a signal handler is allowed: two system calls, and
    // no allocation.
    unsafe { command.pre_exec(before_it_starts) };
}
