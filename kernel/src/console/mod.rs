//! The console on the serial line: commands typed by a person, or handed over by the host runner.
//!
//! `commands` has the table; each other file has a command or some, `editor` the interactive line. `info` has those that
//! look at what there is, `play` those that a person plays with. Called by `main` and by
//! tests, in a thread that may wait; `hold` keeps its areas under a lock of its own, nothing else does.

mod balance;
mod commands;
mod editor;
mod failures;
mod freeing;
mod info;
mod latency;
mod perf;
mod play;
mod power;
pub mod sysctl;
mod trace;

use crate::drivers::{fw_cfg, serial};
use protocol::Record;

pub use balance::command as balance;
pub use commands::{complete, run_beside};
pub use info::{lockinfo::lockinfo, top::top};
pub use latency::latency;
pub use play::{
    areas::{vfree, vmalloc, vmap},
    bytes::{peek, poke},
    hold::hold,
};
pub use trace::trace;

/// Runs the commands the host handed over, then powers off; without any, the interactive console.
pub fn run() -> ! {
    serial::write_record(Record::Console);
    match fw_cfg::read(protocol::FW_CFG_COMMANDS) {
        Some(line) => {
            commands::run_line(&line);
            failures::power_off();
        }
        None => editor::run(),
    }
}
