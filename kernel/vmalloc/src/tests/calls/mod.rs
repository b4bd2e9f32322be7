//! Each family of calls, used rightly and wrongly.

mod basics;
mod beside;
mod congruent;
mod failures;
mod guard_below;
mod hidden;
mod interrupts;
mod ram;
mod refusals;
mod resize;
mod trace;
