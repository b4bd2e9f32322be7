//! Has the linker put the kernels where none of the loader's mappings are. It is needed because this workspace's kernels
//! are compiled for one address (`.cargo/config.toml`); one that the compiler makes position independent, as it does
//! unless it is told otherwise, needs no such thing.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-tests=--image-base=0xffffffff80000000");
}
