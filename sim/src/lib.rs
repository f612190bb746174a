//! A deterministic simulator: one seed replays one run.
