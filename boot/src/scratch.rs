//! Folders for the files of a run, which do not outlive it.
//!
//! A folder goes with its value. A process that is killed drops nothing, so
//! whoever makes the next folder beside it removes those of the dead: a lock
//! on a file in each says that its process lives. The kernel takes the lock
//! back with the process, however that ends, and no process id is trusted,
//! which another process may have by then.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempDir;

use crate::status::{Doing, Result};

/// What the names of the folders begin with. Only those are ever removed.
const PREFIX: &str = ".run-";

/// The file in each folder that its process holds a lock on.
const LOCK: &str = "lock";

/// How the names of the files end that are kept of the dead.
pub const LOG: &str = "log";

/// The file beside the folders that is locked by who makes or removes one, so that nobody takes a folder whose
/// lock is about to be taken for one of the dead.
const TURN: &str = ".lock";

/// A folder that goes with this value, or with the process and the next folder beside it.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    /// Locked.
    _alive: File,
}

impl Scratch {
    /// Makes a folder within `parent`, which is made too if it is not there. Those that processes left behind which
    /// were killed are removed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn within(parent: &Path) -> Result<Self> {
        fs::create_dir_all(parent).doing(format_args!("make the folder {}", parent.display()))?;
        let turn = locked(&parent.join(TURN)).doing(format_args!("lock the folder {}", parent.display()))?;
        remove_dead(parent);
        let make = || {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            let alive = locked(&folder.path().join(LOCK))?;
            Ok::<_, io::Error>(Self { folder, _alive: alive })
        };
        let scratch = make().doing("make a temporary folder");
        drop(turn);
        scratch
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Opens a file, makes it if need be, and waits for its lock. On a file system without locks nobody has one, and
/// nobody takes another for dead.
fn locked(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    match file.lock() {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error),
        _ => Ok(file),
    }
}

/// Removes the folders of processes that are dead, but keeps their logs if anything is in them, beside the folders: who is killed cannot say
/// what it saw. Who calls has the turn.
fn remove_dead(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().filter_map(std::result::Result::ok);
    let ours = entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    for folder in ours.map(|entry| entry.path()).filter(|folder| is_dead(folder)) {
        let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let logs = files.filter(|file| file.extension().is_some_and(|kind| kind == LOG));
        for log in logs.filter(|log| fs::metadata(log).is_ok_and(|about| about.len() > 0)) {
            if let Some(name) = log.file_name() {
                let _ = fs::rename(&log, parent.join(name));
            }
        }
        // What cannot be removed now is left to the next.
        let _ = fs::remove_dir_all(folder);
    }
}

/// Whether the process that made the folder is dead for certain.
fn is_dead(folder: &Path) -> bool {
    match File::open(folder.join(LOCK)) {
        Ok(file) => file.try_lock().is_ok(),
        // Its process was killed before there was one: nobody else has the turn.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn folders(parent: &Path) -> usize {
        let entries = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap());
        entries.filter(|entry| entry.file_type().unwrap().is_dir()).count()
    }

    /// What a process leaves that was killed: its folder, and a lock that nobody holds.
    fn left_behind(parent: &Path, name: &str, with_lock: bool) -> PathBuf {
        let folder = parent.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("orders"), "x").unwrap();
        fs::write(folder.join(format!("{name}.log")), name).unwrap();
        fs::write(folder.join("empty.log"), "").unwrap();
        if with_lock {
            fs::write(folder.join(LOCK), "").unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_goes_with_its_value() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::within(&parent.path().join("a/b")).unwrap();
        fs::write(scratch.path().join("orders"), "x").unwrap();
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists());
    }

    /// Seen failing, for the logs, with all files removed.
    #[test]
    fn the_next_run_removes_what_the_dead_left_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let parent = parent.path();
        let alive = Scratch::within(parent).unwrap();
        let dead = [left_behind(parent, ".run-dead", true), left_behind(parent, ".run-begun", false)];
        let foreign = left_behind(parent, "run-of-others", true);
        let next = Scratch::within(parent).unwrap();
        assert!(dead.iter().all(|folder| !folder.exists()));
        assert!(alive.path().is_dir() && next.path().is_dir() && foreign.is_dir());
        assert_eq!(folders(parent), 3);
        assert!(!parent.join("empty.log").exists());
        for name in [".run-dead", ".run-begun"] {
            assert_eq!(fs::read_to_string(parent.join(format!("{name}.log"))).unwrap(), name);
        }
    }

    #[test]
    fn many_at_once_do_not_take_each_other_for_dead() {
        let parent = tempfile::tempdir().unwrap();
        let scratch: Vec<_> = std::thread::scope(|scope| {
            let make = || (0..50).map(|_| Scratch::within(parent.path()).unwrap()).collect::<Vec<_>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert!(scratch.iter().all(|scratch| scratch.path().join(LOCK).is_file()));
        drop(scratch);
        assert_eq!(folders(parent.path()), 0);
    }
}
