//! The fuzz targets over their seeds and over every input that once broke one of them.
#![cfg(all(feature = "encrypt", feature = "gzip"))]

#[path = "../../fuzz/src/targets/mod.rs"]
#[allow(unreachable_pub, reason = "a crate of its own in `fuzz`")]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[test]
fn no_seed_and_no_past_finding_breaks_its_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let mut broken = Vec::new();
    for (name, target) in targets::TARGETS {
        let seeds = inputs(&fuzz.join("corpus").join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for file in seeds
            .into_iter()
            .chain(inputs(&fuzz.join("regressions").join(name)))
        {
            let input = fs::read(&file).unwrap();
            if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
                broken.push(file);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A folder without a target would be replayed by nobody.
#[test]
fn every_folder_of_inputs_has_a_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for folder in ["corpus", "regressions"] {
        for path in inputs(&fuzz.join(folder)) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let known = targets::TARGETS.iter().any(|(target, _)| *target == name);
            // Those of the facade and of the simulator are replayed by their own tests.
            let elsewhere = ["web_cookie", "world"].contains(&name.as_str());
            assert!(known || elsewhere || path.is_file(), "{}", path.display());
        }
    }
}

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}
