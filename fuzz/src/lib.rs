//! What the fuzz targets run: one function a format, given any bytes.
//!
//! A function does more than decode: what was read is written again and must be the same bytes, or, where the
//! format leaves freedom, read as the same fields. The core's `corpus` test runs the same functions over the
//! seeds and over everything that ever broke one of them, with the stable compiler.

pub mod wire;

/// A target: its name, which is that of its folder in `corpus` and `regressions`, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("frame", wire::frame),
    ("channel_data", wire::channel_data),
    ("member", wire::member),
    ("datagram", wire::datagram),
    ("send_options", wire::send_options),
    ("unique_id", wire::unique_id),
];
