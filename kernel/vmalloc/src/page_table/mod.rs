//! Page table entries, and the tables that hold them.
//!
//! Every entry is read and written in this room, and nowhere else. What an entry can say is in `entry`, how one
//! changes in `slot`. `directories` leads from an address to the entry above its leaf table, and `flush` holds what
//! was unmapped until every CPU has forgotten it; `length` has how long small areas are, `ram` the mappings of
//! `vm_map_ram`, with `unrolled` for the few pages that most of them have; `survey` looks at what others may have put
//! there. The room has no state and takes no lock.

pub(crate) mod directories;
pub(crate) mod entry;
pub(crate) mod flush;
mod length;
mod ram;
#[cfg(feature = "check")]
pub(crate) mod scratch;
pub(crate) mod slot;
pub(crate) mod survey;
mod unrolled;

pub(crate) use entry::{Attributes, Entry, GuardInfo};
pub(crate) use flush::Unflushed;
pub(crate) use length::{mark_length, told_rest, unmap_rest, unmark_parked};
pub(crate) use ram::{map_ram, ram_page, unmap_ram, unmap_ram_page};
pub(crate) use slot::{
    Slot, Slots, hide_none, publish_area, publish_page, publish_parked, remap, toggle, unmap_to_last,
};
pub(crate) use unrolled::FEW;
