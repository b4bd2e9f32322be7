//! The words of the public interface: what is asked for, what is told, what is counted, what goes wrong.

pub(crate) mod area;
pub(crate) mod congruent;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod foreign;
pub(crate) mod frame;
pub(crate) mod policy;
pub(crate) mod request;
pub(crate) mod returned;
pub(crate) mod stats;
pub(crate) mod tunables;
pub(crate) mod whatis;

pub(crate) use area::Owner;

/// The place in the kernel's code that a call of the library was made from.
pub(crate) type Caller = &'static core::panic::Location<'static>;
