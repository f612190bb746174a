//! What members of a `StaticMembershipService` tell each other.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::java::{Boxed, FieldValue, Graph, JavaBytes, Limits};
use crate::membership::local::block;
use crate::wire::{Member, MemberBlock};

const CLASS: &[u8] =
    b"org.apache.catalina.tribes.membership.StaticMembershipProvider$MemberMessage";
const MEMBER_IMPL: &[u8] = b"org.apache.catalina.tribes.membership.MemberImpl";
const STATIC_MEMBER: &[u8] = b"org.apache.catalina.tribes.membership.StaticMember";
/// How deep and large such a stream may be.
const LIMITS: Limits = Limits {
    depth: 16,
    objects: 64,
    ..Limits::DEFAULT
};

/// What a member says. `MemberMessage.getMsgtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberMessageType {
    /// It is there.
    Start,
    /// It leaves.
    Stop,
    /// It is still there.
    Ping,
}

impl MemberMessageType {
    const fn code(self) -> i32 {
        match self {
            Self::Start => 1,
            Self::Stop => 2,
            Self::Ping => 3,
        }
    }

    const fn of(code: i32) -> Option<Self> {
        match code {
            1 => Some(Self::Start),
            2 => Some(Self::Stop),
            3 => Some(Self::Ping),
            _ => None,
        }
    }
}

/// `StaticMembershipProvider.MemberMessage`: a member of a named membership starts, stops or lives.
///
/// A Java object stream; the fields are `int msgtype`, the member (a `StaticMember`: an `int` length and its block) and
/// `byte[] membershipId`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberMessage {
    /// What it says.
    pub kind: MemberMessageType,
    /// Of whom.
    pub member: Member,
    /// The name of the membership: `<channel name>-StaticMembership`.
    pub membership_id: Bytes,
}

impl MemberMessage {
    /// Whether a stream claims to hold a member message: cheap, and enough to tell it from other messages.
    pub fn is_member_message(stream: &[u8]) -> bool {
        let class = stream.strip_prefix(BEGIN);
        class.is_some_and(|class| class.starts_with(CLASS))
    }

    /// Reads a stream; `None` if it is damaged or holds something else.
    pub fn read(stream: &[u8]) -> Option<Self> {
        if !Self::is_member_message(stream) {
            return None;
        }
        let graph = Graph::parse(stream, &LIMITS).ok()?;
        let root = graph.root()?;
        if graph.class_name(root).as_modified_utf8() != CLASS {
            return None;
        }
        let FieldValue::Primitive(Boxed::Integer(code)) = graph.field(root, "msgtype")? else {
            return None;
        };
        let object = |name: &str| match graph.field(root, name)? {
            FieldValue::Reference(node) => node,
            FieldValue::Primitive(_) => None,
        };
        let member = object("member")?;
        let class = graph.class_name(member);
        let class = [STATIC_MEMBER, MEMBER_IMPL]
            .into_iter()
            .find(|known| class.as_modified_utf8() == *known)?;
        let block = graph.custom_data(member, class)?.sized()?;
        let membership_id = graph.primitive_array(object("membershipId")?)?;
        Some(Self {
            kind: MemberMessageType::of(code)?,
            member: Member::from(MemberBlock::read(&block).ok()?),
            membership_id: Bytes::copy_from_slice(membership_id),
        })
    }

    /// The stream.
    pub fn encode(&self) -> JavaBytes {
        let block = block(&self.member);
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(BEGIN);
        out.extend_from_slice(CLASS);
        out.extend_from_slice(DESCRIPTION);
        out.extend_from_slice(&self.kind.code().to_be_bytes());
        out.extend_from_slice(MEMBER);
        let len = (block.len() as u32).to_be_bytes();
        // Block data: what fits into a byte has the short form; Java begins a new record after 1024 bytes.
        let data = [&len[..], &block].concat();
        for record in data.chunks(1024) {
            match u8::try_from(record.len()) {
                Ok(len) => out.extend_from_slice(&[0x77, len]),
                Err(_) => {
                    out.push(0x7a);
                    out.extend_from_slice(&(record.len() as u32).to_be_bytes());
                }
            }
            out.extend_from_slice(record);
        }
        out.extend_from_slice(BYTES);
        out.extend_from_slice(&(self.membership_id.len() as u32).to_be_bytes());
        out.extend_from_slice(&self.membership_id);
        JavaBytes::from_checked(out.into())
    }
}

/// Header, object, descriptor, length of the class name.
const BEGIN: &[u8] = b"\xac\xed\0\x05sr\0\x4c";
/// UID 1, serializable, three fields.
const DESCRIPTION: &[u8] = b"\0\0\0\0\0\0\0\x01\x02\0\x03I\0\x07msgtype\
    L\0\x06membert\0\x23Lorg/apache/catalina/tribes/Member;[\0\x0cmembershipIdt\0\x02[Bxp";
/// A `StaticMember` up to its data.
const MEMBER: &[u8] = b"sr\0\x32org.apache.catalina.tribes.membership.StaticMember\xa3\x26\x03\x88\x7e\xb6\xb8\xa1\x0c\0\0\
    xr\0\x30org.apache.catalina.tribes.membership.MemberImpl\x84\x76\xf3\x7b\x32\x95\x36\x67\x0c\0\0xp";
/// The end of its data, and a byte array up to its length.
const BYTES: &[u8] = b"xur\0\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\0\0xp";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::UniqueId;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn message(kind: MemberMessageType, payload: Vec<u8>, id: Vec<u8>) -> MemberMessage {
        let mut member = Member::new("10.9.8.7:4567".parse().unwrap(), UniqueId([5; 16]));
        member.alive_ms = 12;
        member.payload = payload;
        MemberMessage {
            kind,
            member,
            membership_id: id.into(),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_less(
            payload in proptest::collection::vec(any::<u8>(), 0..3000),
            id in proptest::collection::vec(any::<u8>(), 0..300),
            cut in any::<prop::sample::Index>(),
        ) {
            for kind in [MemberMessageType::Start, MemberMessageType::Stop, MemberMessageType::Ping] {
                let message = message(kind, payload.clone(), id.clone());
                let stream = message.encode();
                prop_assert!(JavaBytes::new(Bytes::copy_from_slice(stream.as_bytes()), &Limits::DEFAULT).is_ok());
                let graph = Graph::parse(stream.as_bytes(), &LIMITS).unwrap();
                prop_assert_eq!(graph.encode(), stream.as_bytes());
                prop_assert_eq!(MemberMessage::read(stream.as_bytes()), Some(message));
                let cut = cut.index(stream.as_bytes().len());
                prop_assert_eq!(MemberMessage::read(&stream.as_bytes()[..cut]), None);
            }
        }
    }

    #[test]
    fn other_kinds_are_none() {
        let good = message(MemberMessageType::Ping, Vec::new(), Vec::new()).encode();
        let at = BEGIN.len() + CLASS.len() + DESCRIPTION.len() + 3;
        for code in [0u8, 4, 255] {
            let mut bytes = good.as_bytes().to_vec();
            bytes[at] = code;
            assert_eq!(MemberMessage::read(&bytes), None, "{code}");
        }
        assert_eq!(
            MemberMessage::read(JavaBytes::from("text").as_bytes()),
            None
        );
    }
}
