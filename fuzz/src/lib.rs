//! What the fuzz targets run: one function a format, given any bytes.
//!
//! A function does more than decode: what was read is written again and must be the same bytes, or, where the
//! format leaves freedom, read as the same fields. The core's `corpus` test runs the same functions over the
//! seeds and over everything that ever broke one of them, with the stable compiler.

pub mod targets;
#[cfg(feature = "web")]
pub mod web;
#[cfg(feature = "world")]
pub mod world;
