//! The session layer: `SessionMessage`, `DeltaRequest`, `DeltaSession` and the values inside.

use super::vector::Vector;
use super::{Checked, File};

/// What each file holds. The names in these files have no common beginnings: the file is the kind.
pub(crate) const FILES: &[File] = &[];

#[expect(dead_code, reason = "the shape of a check")]
fn shape(_: &Vector) -> Checked {
    Ok(super::Outcome::Checked)
}
