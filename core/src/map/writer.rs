//! Map messages into a Java stream, by themselves or many in a list.

use alloc::vec::Vec;

use bytes::BufMut;

use super::message::{FIRST_HANDLE, MapMessage, PREAMBLE};

/// The descriptor of `byte[]`.
pub(super) const BYTES_DESC: &[u8] = b"r\x00\x02[B\xAC\xF3\x17\xF8\x06\x08T\xE0\x02\x00\x00xp";
/// The descriptor of `Member[]`.
pub(super) const MEMBERS_DESC: &[u8] = b"r\x00\x24[Lorg.apache.catalina.tribes.Member;\
    \x5E\xC4\x60\x6B\x84\x2D\x39\x3C\x02\x00\x00xp";
/// The descriptor of `MemberImpl`.
pub(super) const MEMBER_DESC: &[u8] = b"r\x00\x30org.apache.catalina.tribes.membership.MemberImpl\
    \x84\x76\xF3\x7B\x32\x95\x36\x67\x0C\x00\x00xp";
/// Header, object and descriptor of an `ArrayList`; its size follows.
const LIST_BEGIN: &[u8] = b"\xAC\xED\x00\x05sr\x00\x13java.util.ArrayList\
    \x78\x81\xD2\x1D\x99\xC7\x61\x9D\x03\x00\x01I\x00\x04sizexp";
/// The first handle after those of the list.
const LIST_HANDLE: u32 = 0x7E_0002;

/// The longest segment of block data.
const BLOCK_MAX: usize = 1024;

/// Writes messages one after the other, describing each class once.
pub(super) struct MapWriter<'o, 'm> {
    out: &'o mut Vec<u8>,
    next: u32,
    message_class: Option<u32>,
    bytes_class: Option<u32>,
    members_class: Option<u32>,
    member_class: Option<u32>,
    /// In a list: the map id and the members that have been written, with their handles.
    shared: Option<Vec<(&'m [u8], u32)>>,
}

impl<'o, 'm> MapWriter<'o, 'm> {
    /// A stream of one message.
    pub(super) const fn alone(out: &'o mut Vec<u8>) -> Self {
        Self {
            out,
            next: FIRST_HANDLE,
            message_class: None,
            bytes_class: None,
            members_class: None,
            member_class: None,
            shared: None,
        }
    }

    /// A stream of an `ArrayList` of `count` messages, which have to follow. What is the same memory becomes the same
    /// Java object.
    pub(super) fn list(out: &'o mut Vec<u8>, count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        out.put_slice(LIST_BEGIN);
        out.put_u32(count);
        out.put_slice(&[0x77, 4]);
        out.put_u32(count);
        Self {
            next: LIST_HANDLE,
            shared: Some(Vec::new()),
            ..Self::alone(out)
        }
    }

    /// Ends the list.
    pub(super) fn end_list(self) {
        self.out.put_u8(0x78);
    }

    /// Writes one message.
    pub(super) fn message(&mut self, message: &MapMessage<'m>) {
        self.begin_message();
        self.out.put_u8(u8::from(message.diff));
        self.out.put_i32(message.msgtype);
        self.bytes(message.diff_value);
        self.bytes(message.key);
        match message.map_id {
            Some(id) if self.again(id) => {}
            id => {
                self.bytes(id);
                self.remember(id);
            }
        }
        match &message.nodes {
            None => self.out.put_u8(0x70),
            Some(nodes) => {
                self.out.put_u8(0x75);
                self.members_class = Some(self.class(self.members_class, MEMBERS_DESC));
                self.next = self.next.wrapping_add(1);
                self.out
                    .put_u32(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
                for node in nodes {
                    self.member(node);
                }
            }
        }
        match &message.primary {
            None => self.out.put_u8(0x70),
            Some(primary) => self.member(primary),
        }
        self.bytes(message.value);
    }

    fn begin_message(&mut self) {
        if self.next == FIRST_HANDLE && self.shared.is_none() {
            return self.out.put_slice(PREAMBLE);
        }
        self.out.put_u8(0x73);
        if let Some(class) = self.message_class {
            self.refer(class);
        } else {
            // The same descriptor, whose type strings have other handles here.
            self.message_class = Some(self.next);
            let string = self.next.wrapping_add(1).to_be_bytes();
            let mut rest = PREAMBLE.get(5..).unwrap_or_default();
            let reference = b"q\x00\x7E\x00\x01";
            while let Some(at) = rest
                .windows(reference.len())
                .position(|window| window == reference)
            {
                let (before, after) = rest
                    .split_at_checked(at.saturating_add(1))
                    .unwrap_or_default();
                self.out.put_slice(before);
                self.out.put_slice(&string);
                rest = after.get(string.len()..).unwrap_or_default();
            }
            self.out.put_slice(rest);
            self.next = self.next.wrapping_add(4);
        }
        self.next = self.next.wrapping_add(1);
    }

    fn refer(&mut self, handle: u32) {
        self.out.put_u8(0x71);
        self.out.put_u32(handle);
    }

    fn class(&mut self, known: Option<u32>, described: &[u8]) -> u32 {
        if let Some(handle) = known {
            self.refer(handle);
            return handle;
        }
        let handle = self.next;
        self.out.put_slice(described);
        self.next = self.next.wrapping_add(1);
        handle
    }

    fn bytes(&mut self, bytes: Option<&[u8]>) {
        let Some(bytes) = bytes else {
            return self.out.put_u8(0x70);
        };
        self.out.put_u8(0x75);
        self.bytes_class = Some(self.class(self.bytes_class, BYTES_DESC));
        self.next = self.next.wrapping_add(1);
        self.out
            .put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.out.put_slice(bytes);
    }

    #[allow(
        clippy::ptr_arg,
        reason = "only what is borrowed for long enough can be referred to"
    )]
    fn member(&mut self, member: &alloc::borrow::Cow<'m, [u8]>) {
        if self.again(member) {
            return;
        }
        self.out.put_u8(0x73);
        self.member_class = Some(self.class(self.member_class, MEMBER_DESC));
        self.next = self.next.wrapping_add(1);
        let len = i32::try_from(member.len())
            .unwrap_or(i32::MAX)
            .to_be_bytes();
        let mut rest: &[u8] = member;
        let mut head: &[u8] = &len;
        while !head.is_empty() || !rest.is_empty() {
            let segment = rest.len().saturating_add(head.len()).min(BLOCK_MAX);
            match u8::try_from(segment) {
                Ok(short) => self.out.put_slice(&[0x77, short]),
                Err(_) => {
                    self.out.put_u8(0x7A);
                    self.out.put_u32(u32::try_from(segment).unwrap_or(u32::MAX));
                }
            }
            let here = segment.saturating_sub(head.len());
            let (now, later) = rest.split_at_checked(here).unwrap_or((rest, &[]));
            self.out.put_slice(head);
            self.out.put_slice(now);
            (head, rest) = (&[], later);
        }
        self.out.put_u8(0x78);
        if let alloc::borrow::Cow::Borrowed(block) = *member {
            self.remember(Some(block));
        }
    }

    /// Refers to what has been written from the same memory, if anything has.
    fn again(&mut self, bytes: &[u8]) -> bool {
        let shared = self.shared.as_ref();
        let known = shared.and_then(|shared| {
            shared
                .iter()
                .find(|known| core::ptr::eq(known.0, bytes))
                .map(|known| known.1)
        });
        known.is_some_and(|handle| {
            self.refer(handle);
            true
        })
    }

    /// What was just written has the last handle.
    fn remember(&mut self, bytes: Option<&'m [u8]>) {
        let handle = self.next.wrapping_sub(1);
        if let (Some(shared), Some(bytes)) = (&mut self.shared, bytes) {
            shared.push((bytes, handle));
        }
    }
}
