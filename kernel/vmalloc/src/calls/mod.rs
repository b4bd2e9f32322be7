//! The public calls, a file a family. Each checks what it was asked, has `areas` do it, and hands what that returns to
//! `reclaim`: an allocation that ran out of room, or the pressure that a free causes. Nothing below purges.

mod alloc;
#[cfg(feature = "collections")]
pub(crate) mod collections;
mod congruent;
mod free;
mod map;
mod map_ram;
mod protect;
mod purge;
mod realloc;
