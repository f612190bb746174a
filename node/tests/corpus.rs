//! The fuzz targets for what browsers send, over their seeds and over every input that once broke one of them.

// The fuzz targets' crate offers it to their programs.
#[allow(unreachable_pub)]
#[path = "../../fuzz/src/web.rs"]
mod web;

use std::fs;
use std::path::Path;

#[test]
fn no_seed_and_no_past_finding_breaks_its_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut played = 0;
    for folder in ["corpus/web_cookie", "regressions/web_cookie"] {
        for file in fs::read_dir(fuzz.join(folder)).into_iter().flatten() {
            web::web_cookie(&fs::read(file.unwrap().path()).unwrap());
            played += 1;
        }
    }
    assert!(played > 0, "no seeds");
}
