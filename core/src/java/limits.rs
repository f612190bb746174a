//! How much of a Java object stream is believed.

/// Bounds for one Java object stream. A stream that exceeds one is refused; nothing is allocated by a length that
/// the stream only announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects inside each other. Java itself runs out of stack at a few thousand. Default 10 000.
    pub depth: usize,
    /// Objects, strings, arrays and class descriptors together: what takes a handle. Default 4 000 000.
    pub objects: usize,
    /// Encoded bytes of one string. Default 64 MiB.
    pub string_bytes: usize,
    /// Elements of one array. Default 64 Mi.
    pub array_elements: usize,
    /// Bytes of the whole stream. Default 64 MiB; never more than 2 GiB.
    pub total_bytes: usize,
}

impl Limits {
    /// The defaults, as a constant.
    pub const DEFAULT: Self = Self {
        depth: 10_000,
        objects: 4_000_000,
        string_bytes: 64 << 20,
        array_elements: 64 << 20,
        total_bytes: 64 << 20,
    };

    /// For what has been checked against other limits before.
    pub(crate) const UNLIMITED: Self = Self {
        depth: usize::MAX,
        objects: usize::MAX,
        string_bytes: usize::MAX,
        array_elements: usize::MAX,
        total_bytes: usize::MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
