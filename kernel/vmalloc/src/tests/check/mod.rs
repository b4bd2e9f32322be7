//! What is wrong around the library is named: ranges that are in use, and platforms that break their promises.

mod in_use;
#[cfg(feature = "check")]
mod promises;
#[cfg(feature = "check")]
mod wrong;
