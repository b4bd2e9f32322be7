//! Inspection: finding, listing and counting what is allocated, and reading it.
//!
//! Nothing here changes anything, except that a page whose frame was looked up is marked as written.

mod census;
mod count;
mod find;
mod foreign;
mod map;
mod read;
mod whatis;
