//! `balance`: whether anything was left behind since it was counted last.

use crate::{
    balance::{self, Balance},
    command::CommandError,
    lock_class, println,
    sync::SpinLock,
};
use alloc::format;

pub(super) const ABOUT: &str = "fails if anything was left behind since balance mark\n\
    mark   counts frames, areas, page tables, bytes of the heap, threads, pins and reports of locks, to compare with\n\
    It does first what is deferred, and gives back what is cached.";

/// What was counted by `balance mark`.
static MARK: SpinLock<Option<Balance>> = SpinLock::new(lock_class!("mark of balance"), None);

/// The console command.
///
/// # Errors
/// The line names the argument that is wrong, or what is not as it was.
pub fn command(arguments: &[&str]) -> Result<(), CommandError> {
    match arguments {
        ["mark"] => {
            balance::make_what_stays().map_err(|error| CommandError::new(format!("mark: {error}")))?;
            let now = Balance::now();
            *MARK.lock() = Some(now);
            Ok(())
        }
        [] => {
            let mark = *MARK.lock();
            let mark = mark.ok_or_else(|| CommandError::new("nothing was counted: balance mark does"))?;
            let changed = Balance::now().since(&mark);
            if !changed.is_empty() {
                return Err(CommandError::new(format!("something was left behind: {}", changed.join("; "))));
            }
            println!("nothing was left behind");
            Ok(())
        }
        [other, ..] => Err(CommandError::new(format!("{other}: only mark can stand here"))),
    }
}
