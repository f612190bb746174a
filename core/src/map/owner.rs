//! What a map needs of whoever keeps values in it.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::message::MapMessageError;
use crate::channel::MemberIndex;
use crate::java::{JavaBytes, JavaError, JavaErrorKind, Limits};

/// Why a value has left a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Removal {
    /// Another node has removed the entry.
    ByPeer,
    /// Another node has become the primary; only a proxy stays here.
    Moved,
    /// Everyone who had the value is gone.
    Lost,
}

/// What a map cannot use of what other nodes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapRefusal {
    /// The message.
    Message(MapMessageError),
    /// The message has no key, or too long a one.
    Key,
    /// The value.
    Value(JavaError),
    /// The diff; the value is asked for as a whole.
    Diff(JavaError),
    /// There is no room for more entries.
    Full,
}

impl fmt::Display for MapRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(error) => error.fmt(f),
            Self::Key => f.write_str("map message whose key is missing or too long"),
            Self::Value(error) => write!(f, "map message with an unreadable value: {error}"),
            Self::Diff(error) => write!(f, "map message whose diff does not fit: {error}"),
            Self::Full => f.write_str("the map has no room for more entries"),
        }
    }
}

/// Keeps the values of a [`ReplicatedMap`](super::ReplicatedMap): makes them from streams and the reverse, and hears what
/// becomes of them. `MapOwner` and `ReplicatedMapEntry`.
pub trait MapOwner {
    /// A value.
    type Value;

    /// Reads a value that another node has sent. `before` is what was here until now; local changes in it that have not been
    /// sent should stay in force.
    ///
    /// # Errors
    /// If it cannot be used; then what was here stays.
    fn read(
        &mut self,
        key: &Bytes,
        stream: &[u8],
        before: Option<&Self::Value>,
    ) -> Result<Self::Value, JavaError>;

    /// Appends the stream of a whole value.
    ///
    /// # Errors
    /// If it cannot be sent: then it stays here alone.
    fn write(&mut self, value: &Self::Value, out: &mut Vec<u8>) -> Result<(), JavaError>;

    /// Tells one value of a key from another that the key had before or gets later; `None` if it cannot. Default: it cannot.
    fn identity(&self, _value: &Self::Value) -> Option<u64> {
        None
    }

    /// Whether a value has changes that have not been sent. `isDirty`. Default: no.
    fn is_dirty(&self, _value: &Self::Value) -> bool {
        false
    }

    /// Whether somebody is working with a value: then it stays at hand although others have become responsible for it. Default:
    /// no.
    fn is_in_use(&self, _value: &Self::Value) -> bool {
        false
    }

    /// Appends what has changed; `false` if there is no such form. `getDiff`.
    fn write_diff(&mut self, _value: &Self::Value, _out: &mut Vec<u8>) -> bool {
        false
    }

    /// The changes, or the whole value with them, have been sent. `resetDiff`.
    fn sent(&mut self, _value: &mut Self::Value) {}

    /// Whether its use is to be told although nothing has changed. `isAccessReplicate`. Default: no.
    fn is_access_due(&self, _value: &Self::Value) -> bool {
        false
    }

    /// Applies what has changed at the primary. `applyDiff`.
    ///
    /// # Errors
    /// If it cannot be used; then nothing has changed.
    fn apply_diff(&mut self, _value: &mut Self::Value, _diff: &[u8]) -> Result<(), JavaError> {
        Err(JavaErrorKind::WrongClass.at(0))
    }

    /// It was used on another node. `accessEntry`.
    fn accessed(&mut self, _value: &mut Self::Value) {}

    /// Whether this node is the primary from now on. `objectMadePrimary`.
    fn primary_changed(&mut self, _value: &mut Self::Value, _primary: bool) {}

    /// A value is here that was not.
    fn added(&mut self, _key: &Bytes, _value: &Self::Value) {}

    /// A value is no longer here.
    fn removed(&mut self, _key: &Bytes, _value: Self::Value, _why: Removal) {}

    /// The value that was asked for is here, or nobody has it.
    fn fetched(&mut self, _key: &Bytes, _found: bool) {}

    /// Another node said something that cannot be used.
    fn refused(&mut self, _from: Option<MemberIndex>, _reason: MapRefusal) {}
}

/// Values that are sent whole: any Java value.
#[derive(Debug, Default)]
pub struct PlainValues {
    /// Bounds for received values.
    pub limits: Limits,
}

impl MapOwner for PlainValues {
    type Value = JavaBytes;

    fn read(
        &mut self,
        _key: &Bytes,
        stream: &[u8],
        _before: Option<&JavaBytes>,
    ) -> Result<JavaBytes, JavaError> {
        JavaBytes::new(Bytes::copy_from_slice(stream), &self.limits)
    }

    fn write(&mut self, value: &JavaBytes, out: &mut Vec<u8>) -> Result<(), JavaError> {
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    /// A hash of the value.
    fn identity(&self, value: &JavaBytes) -> Option<u64> {
        Some(crate::session::lane(value.as_bytes()))
    }
}
