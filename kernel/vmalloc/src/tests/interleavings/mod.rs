//! Models: parts of the library in every interleaving of a few CPUs, explored by loom.
//!
//! Built with `--cfg loom`, the library takes its atomics and its locks from loom ([`atomic`](crate::atomic),
//! [`lock`](crate::lock)); these tests run the library's own functions on threads of loom's, each a CPU. Loom tries
//! every order of the threads' accesses, and every value that the memory model lets a load return, within a bound on
//! preemptions that each model states. It takes sequentially consistent accesses for acquire and release only; what
//! rests on more is said by fences, which it knows.

mod blocks;
mod instance;
mod machine;
mod magazines;
mod shootdown;

pub(crate) use machine::explore;
