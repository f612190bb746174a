//! A shared library may leave symbols undefined; this one may not. `memcpy` and its like are the C library's.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,defs");
    println!("cargo:rustc-cdylib-link-arg=-lc");
}
