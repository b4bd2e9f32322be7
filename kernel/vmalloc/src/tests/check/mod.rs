//! What is wrong around the library is named: ranges that are in use, and platforms that break their promises.

#[cfg(all(debug_assertions, feature = "check"))]
mod debug;
mod in_use;
#[cfg(feature = "check")]
mod promises;
#[cfg(feature = "check")]
mod reports;
#[cfg(all(feature = "check", target_arch = "x86_64"))]
mod this_cpu;
#[cfg(feature = "check")]
mod wrong;
