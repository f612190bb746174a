//! What Tribes puts on the wire: borrowed views for reading, sinks for writing, no state and no heap.
//!
//! From the outside in: a [frame](mod@frame) carries either an [acknowledgement](ack) or a [`ChannelData`],
//! a `ChannelData` carries its sender's [`MemberBlock`], its [`SendOptions`], a [`UniqueId`] and the message;
//! some messages are the channel's own ([`Control`]). A heartbeat is a bare `MemberBlock` in a datagram.
//!
//! All numbers are big-endian two's complement. Every announced length is compared with the bytes that are
//! really there before anything is done with it, and nothing is copied while reading.

pub mod ack;
pub mod braces;
pub mod channel_data;
pub mod control;
pub mod datagram;
pub mod frame;
pub mod member;
pub mod options;
#[cfg(feature = "alloc")]
mod owned_member;
pub mod reader;
pub mod sink;
pub mod unique_id;

pub use ack::{ACK_FRAME, Acknowledgement, FAIL_ACK_FRAME, read_ack};
pub use channel_data::{ChannelData, MessageHeader};
pub use control::Control;
pub use datagram::DatagramContent;
pub use frame::{Deframed, deframe};
pub use member::MemberBlock;
pub use options::{AckPolicy, ParseSendOptionsError, SendOptions};
#[cfg(feature = "alloc")]
pub use owned_member::Member;
pub use reader::{DecodeError, DecodeErrorKind, Reader};
pub use sink::{Full, Sink, SliceSink};
pub use unique_id::{ParseUniqueIdError, UniqueId};
