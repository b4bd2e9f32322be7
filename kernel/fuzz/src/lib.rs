//! Random sequences of the library's public calls, on its simulated machine, beside a naive model.
//!
//! A *history* is a machine, two instances side by side under it, and a list of steps. Each step has a simulated CPU make a
//! call, or use memory, fall asleep, or come in the middle of another CPU's call. After each the machine looks whether a
//! CPU can reach what it must not, and the model whether the library did and says what it should. A history depends on its
//! numbers alone, so it does the same in every run.
//!
//! A history that fails is [shrunk](shrink) to a list in which no step can be left out. The list can be kept in a file of
//! `corpus/`, which a test runs for ever.

pub mod history;
mod model;
mod random;
mod setting;
pub mod shrink;
mod step;
mod world;

pub use history::{Failure, History};
pub use setting::Setting;
pub use step::{Call, Step};
