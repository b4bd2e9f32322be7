//! Runs one machine, or any program that is watched like one.
//!
//! A thread reads what the program prints, so that a silent program cannot
//! outlast its time limit. The program never outlives the call, nor this
//! process: Linux kills it when this process ends, however that happens.
//!
//! | module | for |
//! |---|---|
//! | [`run()`] | runs a program, which does not outlive this process |
//! | `watch` | sees a program to its end, or ends it |
//! | [`signals`] | tells the sessions of signals to this process |
//! | [`patience`] | tells whether a program hangs |
//! | [`serial`] | tells text from records on the serial line |
//! | `profile` | the table of a profile
//! | [`terminal`] | this terminal as the machine's console |
//! | [`judge`] | turns what happened into an exit status |
//! | [`witness`] | sees one machine: keeps the log, tells the judge |

mod end;
mod event;
pub mod judge;
pub mod patience;
mod profile;
mod run;
pub mod serial;
pub mod signals;
pub mod terminal;
mod watch;
pub mod witness;

pub use self::end::{End, How};
pub use self::run::{Program, run};
pub use self::signals::{Listener, handle_signals};
