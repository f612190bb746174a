//! The session layer: `SessionMessage`, `DeltaRequest`, `DeltaSession` and the values inside.

pub(crate) mod build;
pub(crate) mod compare;
mod streams;
mod values;

use super::{Checked, File, Outcome};

/// What each file holds. The names in these files have no common beginnings: the file is the kind.
pub(crate) const FILES: &[File] = &[
    ("values_irregular", &[("", values::value)]),
    ("values", &[("", values::value)]),
    ("auth", &[("", values::auth)]),
    ("deploy", &[("", streams::carried)]),
    ("delta_request", &[("", streams::carried)]),
    ("delta_session", &[("", streams::carried)]),
    ("session_state", &[("", streams::carried)]),
    ("session_message", &[("", streams::carried)]),
    ("map_entry", &[("", streams::carried)]),
    ("live_", &[("", streams::carried)]),
];

const OK: Checked = Ok(Outcome::Checked);
