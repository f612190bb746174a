//! The crate's documentation knows every feature, and everything that needs an allocator.

use std::collections::BTreeSet;

const LIB: &str = include_str!("../src/lib.rs");
const MANIFEST: &str = include_str!("../Cargo.toml");

/// The rows of the tables in the documentation whose first cell names `what`.
fn rows(what: &str) -> usize {
    let name = format!("`{what}`");
    let rows = LIB.lines().filter_map(|line| line.strip_prefix("//! | "));
    let first = rows.filter_map(|row| row.split(" | ").next());
    first.filter(|cell| cell.contains(&name)).count()
}

#[test]
fn every_feature_is_documented() {
    let features = MANIFEST.split("[features]").nth(1).unwrap();
    let features = features.split("\n[").next().unwrap();
    let names: BTreeSet<&str> = features
        .lines()
        .filter_map(|line| Some(line.split_once(" = ")?.0))
        .filter(|name| *name != "default")
        .collect();
    assert!(names.len() > 7, "{names:?}");
    for name in names {
        assert_eq!(rows(name).min(1), 1, "feature {name}");
    }
}

#[test]
fn every_module_that_needs_an_allocator_is_documented_with_the_reason() {
    let gated = LIB
        .split("feature = \"alloc\"")
        .skip(1)
        .filter_map(|after| {
            let item = after.lines().nth(1)?;
            item.trim().strip_prefix("pub mod ")?.strip_suffix(';')
        });
    let gated: BTreeSet<&str> = gated.collect();
    let known = ["channel", "cluster", "interceptor", "map", "transport"];
    for module in known {
        assert!(gated.contains(module), "{module} is not among {gated:?}");
    }
    for module in gated {
        assert!(rows(module) > 0, "{module} has no row");
    }
}
