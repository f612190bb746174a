//! Bytes and behaviour recorded from Apache Tomcat 10.1.60, decoded, compared field by field and built again.
//!
//! Every `*.json` in the sub-folders `tribes` and `ha` of `FOLKMOOT_VECTORS`, or of this crate's own
//! `tests/vectors` if that is not set, is played. What to do with a vector follows from its file and from what its name
//! begins with; a vector of no known kind fails.
#![cfg(all(feature = "encrypt", feature = "gzip"))]

mod support;

use support::{Folder, ha, run, tribes};

#[test]
fn tribes() {
    run(Folder::Tribes, tribes::FILES);
}

#[test]
fn ha() {
    run(Folder::Ha, ha::FILES);
}
