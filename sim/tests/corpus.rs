//! The fuzz target that runs a world, over its seeds and over every input that once broke it.

// The fuzz targets' crate offers it to their programs.
#[allow(unreachable_pub)]
#[path = "../../fuzz/src/world.rs"]
mod world;

use std::fs;
use std::path::Path;

#[test]
fn no_seed_and_no_past_finding_breaks_a_rule() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut played = 0;
    for folder in ["corpus/world", "regressions/world"] {
        for file in fs::read_dir(fuzz.join(folder)).into_iter().flatten() {
            world::world(&fs::read(file.unwrap().path()).unwrap());
            played += 1;
        }
    }
    assert!(played > 0, "no seeds");
}
