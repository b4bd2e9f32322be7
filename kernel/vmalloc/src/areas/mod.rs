//! Areas: making them, giving them back, resizing them.
//!
//! *Small* areas share a block (`Shape::is_small` decides: mostly less than half a block), each a run of its
//! pages (`small`). A larger one, or one aligned to more than half a block, is a *run* of blocks of its own
//! (`run`), with its own tables; runs that were freed are cached (`cached`). `ram` has the mappings of
//! `vm_map_ram`, `congruent` and `populate` have several areas at set distances, whose pages come and go.
//!
//! ```text
//! free ──take──▶ mapped ──unmap──▶ quarantined ──purge: flush──▶ free, mostly with its frames
//! ```
//! Called by `calls`, which hands the [`Pressure`](crate::pending::Pressure) that a free returns to `reclaim`, and by
//! `reclaim`, which tries allocations again and frees what interrupt handlers noted. A failed call changes nothing, except
//! that pages it had mapped may be pending. Nothing here purges. Locks: a CPU's cached runs; those of the rooms below.

mod cache;
mod cached;
mod congruent;
mod frames;
mod make;
mod ram;
mod realloc;
mod run;
mod shape;
mod small;
mod state;

pub(crate) use congruent::Parts;
pub(crate) use frames::Attempt;
pub(crate) use shape::{Backing, Needs, Shape, pages_for};
pub(crate) use state::Areas;
