//! Reclaim: purging, and what an allocation does when it runs out of room.
//!
//! What waits for a flush (`pending`) becomes free by a purge (`purge`). One purge runs at a time: whoever
//! purges has the *turn* (`turn`), as has whoever gives back directories of page tables (`directories`) or
//! records (`records`). An allocation that ran out of address space or frames applies the cheapest remedy
//! first (`shortage`); the list of all that is cached, and can be given back, is in `caches`. For hunting
//! pointers into freed memory, pages can be made to wait for others to be freed, too (`quarantine`).
//!
//! Called by `calls` with no lock held. Locks: the list of notifiers; those of the rooms below, one at a time.

mod caches;
mod directories;
mod notifiers;
mod purge;
mod quarantine;
mod ranges;
mod records;
mod shortage;
mod state;
mod turn;
mod turns;

pub use notifiers::{MAX_NOTIFIERS, PurgeNotifier};
pub(crate) use state::Reclaim;
pub(crate) use turn::Ticket;
