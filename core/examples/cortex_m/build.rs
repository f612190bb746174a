//! Where things are on an mps2-an385, for the linker.

use std::path::PathBuf;

/// 4 MiB of code memory and 4 MiB of data memory; the member takes a small part of either.
const MEMORY: &str = "MEMORY
{
  FLASH : ORIGIN = 0x00000000, LENGTH = 4096K
  RAM   : ORIGIN = 0x20000000, LENGTH = 4096K
}
";

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    std::fs::write(out.join("memory.x"), MEMORY).expect("a directory of ours");
    println!("cargo:rustc-link-search={}", out.display());
    for arg in ["-Tlink.x", "-Tdefmt.x", "--nmagic"] {
        println!("cargo:rustc-link-arg={arg}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
