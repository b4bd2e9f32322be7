//! The words of the public interface.

pub(crate) mod error;
pub(crate) mod policy;
pub(crate) mod request;
pub(crate) mod trace;
