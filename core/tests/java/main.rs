//! Java streams: values carried from one to another, looked into, changed and built; and streams that lie.
#![cfg(feature = "alloc")]

mod bad_input;
mod carrying;
mod graphs;
#[cfg(feature = "serde")]
mod serde_types;
mod values;
mod vectors;
