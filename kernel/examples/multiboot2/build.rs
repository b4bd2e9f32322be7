//! Has the linker put the kernel where GRUB is to load it.

fn main() {
    println!("cargo::rerun-if-changed=kernel.ld");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/kernel.ld");
    for argument in ["--no-pie", "--script", script] {
        println!("cargo::rustc-link-arg-tests={argument}");
    }
}
