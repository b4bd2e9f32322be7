//! What the vmalloc library does on this machine.

mod areas;
mod calls;
mod devices;
mod mappings;
mod owned;
mod ram;
mod records;
mod refusals;
mod reuse;
mod shootdown;
mod splits;
