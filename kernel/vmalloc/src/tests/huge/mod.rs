//! 2 MiB pages: of the caller's frames, and while they are split.

mod callers;
mod split;
