//! Has the linker put the kernel where the kernel's address map has its image.

use std::env;

/// `IMAGE_START` of `src/arch/layout.rs`, which the kernel compares with where it finds itself.
const IMAGE_START: u64 = 0xffff_ffff_8000_0000;

fn main() {
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if !flags.contains("relocation-model=static") {
        println!(
            "cargo::error=RUSTFLAGS outranks what .cargo/config.toml has for the kernel: add -Crelocation-model=static to it"
        );
    }
    println!("cargo::rustc-link-arg=--image-base={IMAGE_START:#x}");
}
