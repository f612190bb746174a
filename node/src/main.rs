//! The `folkmoot` program.

fn main() {}
