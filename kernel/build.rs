//! Has the linker put the kernel where the kernel's address map has its image.

use std::env;

/// `IMAGE_START` of `src/arch/layout.rs`, which the kernel compares with where it finds itself.
const IMAGE_START: u64 = 0xffff_ffff_8000_0000;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if !flags.contains("relocation-model=static") {
        println!(
            "cargo::error=the kernel needs -Crelocation-model=static: RUSTFLAGS outranks .cargo/config.toml, which has it, \
             and outside of the workspace cargo does not read that"
        );
    }
    println!("cargo::rustc-link-arg=--image-base={IMAGE_START:#x}");
}
