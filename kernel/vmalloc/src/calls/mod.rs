//! The public calls, a file a family. Each checks what it was asked, has `areas` do it, and hands what that returns to
//! `reclaim`: an allocation that ran out of room, or the pressure that a free causes. Nothing below purges.

mod alloc;
mod congruent;
mod free;
mod map;
mod map_ram;
mod protect;
mod purge;
mod realloc;
mod reuse;
mod trace;
mod watch;

use crate::AllocError;
use core::ptr::NonNull;

/// What becomes of a request for an area.
type Made = Result<NonNull<u8>, AllocError>;

/// Returns an address of the range as a pointer.
fn pointer(address: usize) -> NonNull<u8> {
    match NonNull::new(address as *mut u8) {
        Some(pointer) => pointer,
        None => unreachable!("the range does not start at zero"),
    }
}
