//! What callers and those who are called send each other.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::super::UniqueId;
use crate::java::{
    ClassDescriptor, ExternalClass, Graph, JavaBytes, JavaError, Limits, ObjectOutput,
};

const CLASS_NAME: &str = "org.apache.catalina.tribes.group.RpcMessage";
const NO_CHANNEL_NAME: &str = "org.apache.catalina.tribes.group.RpcMessage$NoRpcChannelReply";
/// The UIDs that Java computes from the classes: part of the format.
const CLASS_UID: i64 = 0x712a_750f_f274_e509;
const NO_CHANNEL_UID: i64 = 0x7bab_8fb3_6a4b_5ba6;

/// A request, or an answer to one. `RpcMessage` and `RpcMessage.NoRpcChannelReply`.
///
/// A Java object stream of one `Externalizable` object; its data:
///
/// | item | bytes | |
/// |---|---|---|
/// | reply | 1 | 0 or 1; not in a `NoRpcChannelReply` |
/// | uuid | 4 + 16 | names the call |
/// | rpc id | 4 + n | names the [`RpcChannel`](super::RpcChannel) |
/// | message | an object | or null; not in a `NoRpcChannelReply` |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcMessage {
    /// Which of the three it is.
    pub kind: RpcKind,
    /// Names the call.
    pub uuid: UniqueId,
    /// Names the RPC channel: compared byte by byte.
    pub rpc_id: Bytes,
    /// What is asked or answered; null in a [`RpcKind::NoChannel`].
    pub message: JavaBytes,
}

/// The kinds of an [`RpcMessage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RpcKind {
    /// Somebody asks.
    Request,
    /// The answer.
    Reply,
    /// The answer of a member that has no such RPC channel. `NoRpcChannelReply`.
    NoChannel,
}

/// Why a stream is no [`RpcMessage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcMessageError {
    /// It cannot be read.
    Java(JavaError),
    /// It holds something else.
    OtherClass,
    /// A part is missing or no such thing.
    Part(&'static str),
}

impl fmt::Display for RpcMessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Java(error) => error.fmt(f),
            Self::OtherClass => f.write_str("not an RpcMessage"),
            Self::Part(name) => write!(f, "RpcMessage without a proper {name}"),
        }
    }
}

impl core::error::Error for RpcMessageError {}

impl From<JavaError> for RpcMessageError {
    fn from(error: JavaError) -> Self {
        Self::Java(error)
    }
}

/// The beginning of every stream whose first object is of a class whose name begins with `RpcMessage`: header, object,
/// descriptor; then the name, whose length differs.
const BEGIN: &[u8] = b"\xAC\xED\x00\x05sr\x00";

impl RpcMessage {
    /// Whether a stream claims to hold an RPC message: cheap, and enough to tell it from other messages.
    pub fn is_rpc(stream: &[u8]) -> bool {
        stream
            .strip_prefix(BEGIN)
            .and_then(<[u8]>::split_first)
            .is_some_and(|(_, name)| name.starts_with(CLASS_NAME.as_bytes()))
    }

    /// Reads a stream.
    ///
    /// # Errors
    /// If it is damaged, exceeds `limits`, or holds something else.
    pub fn read(stream: &[u8], limits: &Limits) -> Result<Self, RpcMessageError> {
        let graph = Graph::parse(stream, limits)?;
        let root = graph.root().ok_or(RpcMessageError::OtherClass)?;
        let name = graph.class_name(root);
        let part = RpcMessageError::Part;
        let no_channel = name == NO_CHANNEL_NAME;
        if !no_channel && name != CLASS_NAME {
            return Err(RpcMessageError::OtherClass);
        }
        let mut data = graph
            .custom_data(root, name.as_modified_utf8())
            .ok_or(RpcMessageError::OtherClass)?;
        let kind = if no_channel {
            RpcKind::NoChannel
        } else {
            match data.bytes().ok_or(part("reply flag"))? {
                [0] => RpcKind::Request,
                _ => RpcKind::Reply,
            }
        };
        let uuid = data.sized().ok_or(part("uuid"))?;
        let uuid: [u8; 16] = uuid.try_into().map_err(|_| part("uuid"))?;
        let rpc_id = data.sized().ok_or(part("rpc id"))?;
        let message = if no_channel {
            JavaBytes::NULL
        } else {
            graph.value_bytes(data.slot().ok_or(part("message"))?)
        };
        Ok(Self {
            kind,
            uuid: UniqueId(uuid),
            rpc_id: rpc_id.into(),
            message,
        })
    }

    /// The stream.
    ///
    /// # Errors
    /// If the message cannot be written, which one that was made or checked by this crate always can.
    pub fn encode(&self) -> Result<Bytes, JavaError> {
        let plain = ClassDescriptor::externalizable(CLASS_NAME, CLASS_UID);
        let no_channel = self.kind == RpcKind::NoChannel;
        let class = if no_channel {
            ExternalClass::new(&ClassDescriptor {
                superclass: Some(Arc::new(plain)),
                ..ClassDescriptor::externalizable(NO_CHANNEL_NAME, NO_CHANNEL_UID)
            })
        } else {
            ExternalClass::new(&plain)
        };
        let len = self.message.as_bytes().len().saturating_add(256);
        let mut out = ObjectOutput::with_capacity(len);
        out.begin_external(&class);
        if !no_channel {
            out.write_bool(self.kind == RpcKind::Reply);
        }
        write_sized(&mut out, self.uuid.as_bytes());
        write_sized(&mut out, &self.rpc_id);
        if !no_channel {
            out.write_object(&self.message)?;
        }
        out.end_external();
        Ok(out.finish())
    }

    /// What a member answers that has no RPC channel of this id; `None` unless this is a request.
    pub fn no_channel_reply(&self) -> Option<Self> {
        (self.kind == RpcKind::Request).then(|| Self {
            kind: RpcKind::NoChannel,
            uuid: self.uuid,
            rpc_id: self.rpc_id.clone(),
            message: JavaBytes::NULL,
        })
    }
}

fn write_sized(out: &mut ObjectOutput, bytes: &[u8]) {
    out.write_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
    out.write_bytes(bytes);
}

/// `ByteMessage`: bytes that stand where an object is wanted.
///
/// Layout: an `Externalizable` object, its data an `int` length and the bytes.
pub fn byte_message(bytes: &[u8]) -> JavaBytes {
    let class = ClassDescriptor::externalizable(BYTE_MESSAGE, BYTE_MESSAGE_UID);
    let mut out = ObjectOutput::with_capacity(bytes.len().saturating_add(128));
    out.begin_external(&ExternalClass::new(&class));
    write_sized(&mut out, bytes);
    out.end_external();
    JavaBytes::from_checked(out.finish())
}

/// The bytes of a [`byte_message`]; `None` if `message` is something else.
pub fn read_byte_message(message: &JavaBytes, limits: &Limits) -> Option<Vec<u8>> {
    let graph = message.decode(limits).ok()?;
    graph
        .custom_data(graph.root()?, BYTE_MESSAGE.as_bytes())?
        .sized()
}

const BYTE_MESSAGE: &str = "org.apache.catalina.tribes.ByteMessage";
const BYTE_MESSAGE_UID: i64 = 0x7f57_970a_7bab_e10d;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_message() -> impl Strategy<Value = RpcMessage> {
        let value = prop_oneof![
            Just(JavaBytes::NULL),
            ".{0,40}".prop_map(|text| JavaBytes::from(text.as_str())),
            any::<i64>().prop_map(JavaBytes::from),
            proptest::collection::vec(any::<u8>(), 0..3000).prop_map(|bytes| byte_message(&bytes)),
        ];
        let kind = prop_oneof![
            Just(RpcKind::Request),
            Just(RpcKind::Reply),
            Just(RpcKind::NoChannel)
        ];
        let id = proptest::collection::vec(any::<u8>(), 0..1500);
        (kind, any::<[u8; 16]>(), id, value).prop_map(|(kind, uuid, id, value)| RpcMessage {
            kind,
            uuid: UniqueId(uuid),
            rpc_id: id.into(),
            message: match kind {
                RpcKind::NoChannel => JavaBytes::NULL,
                _ => value,
            },
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(message in any_message(), cut in any::<prop::sample::Index>()) {
            let stream = message.encode().unwrap();
            prop_assert!(RpcMessage::is_rpc(&stream));
            prop_assert_eq!(RpcMessage::read(&stream, &Limits::DEFAULT), Ok(message));
            let cut = cut.index(stream.len());
            prop_assert!(RpcMessage::read(&stream[..cut], &Limits::DEFAULT).is_err());
        }

        #[test]
        fn bytes_in_place_of_an_object_stay_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(read_byte_message(&byte_message(&bytes), &Limits::DEFAULT), Some(bytes));
        }
    }

    #[test]
    fn other_objects_are_no_rpc_messages() {
        for (other, error) in [
            (JavaBytes::from("text"), RpcMessageError::OtherClass),
            (byte_message(b"bytes"), RpcMessageError::OtherClass),
            (JavaBytes::NULL, RpcMessageError::OtherClass),
        ] {
            assert!(!RpcMessage::is_rpc(other.as_bytes()));
            assert_eq!(
                RpcMessage::read(other.as_bytes(), &Limits::DEFAULT),
                Err(error)
            );
        }
        assert_eq!(
            read_byte_message(&JavaBytes::from("text"), &Limits::DEFAULT),
            None
        );
    }
}
