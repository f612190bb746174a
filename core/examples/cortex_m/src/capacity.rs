//! What the member can remember, in three sizes, of which a build has one. docs/embedded.md says what each takes.

use folkmoot_core::fixed;

/// 3 others, frames of 2 KiB and 8 sessions of up to 512 bytes.
#[cfg(feature = "small")]
pub(crate) type Memory = fixed::Memory<3, 12, 2048, 3072, 8, 512, 2048, 256, 24>;

/// 4 others, frames of 4 KiB and 16 sessions of up to 1 KiB.
#[cfg(not(any(feature = "small", feature = "large")))]
pub(crate) type Memory = fixed::Memory<4, 16, 4096, 6144, 16, 1024, 4096, 384, 32>;

/// 8 others, frames of 8 KiB and 64 sessions of up to 2 KiB.
#[cfg(feature = "large")]
pub(crate) type Memory = fixed::Memory<8, 24, 8192, 16384, 64, 2048, 16384, 1024, 64>;
