//! Session ids.

use alloc::string::String;
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::java::JavaString;
use crate::rng::Rng;

/// The id of a session: usually 32 upper-case hex digits, and `.` with the `jvmRoute` of the node that owns
/// stickiness. Any text is carried. Clones share the bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct SessionId(JavaString);

impl SessionId {
    /// `length` random bytes in upper-case hex, then `.` and `jvm_route` if there is one.
    ///
    /// `StandardSessionIdGenerator.generateSessionId`.
    pub fn random(rng: &mut Rng, length: usize, jvm_route: Option<&str>) -> Self {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let mut text = Vec::with_capacity(length.saturating_mul(2).saturating_add(16));
        let mut rest = length;
        while rest > 0 {
            let mut chunk = [0; 16];
            rng.fill(&mut chunk);
            let taken = rest.min(chunk.len());
            for byte in chunk.iter().take(taken) {
                for digit in [byte >> 4, byte & 0x0F] {
                    text.extend(HEX.get(usize::from(digit)));
                }
            }
            rest = rest.saturating_sub(taken);
        }
        let mut text = String::from_utf8(text).unwrap_or_default();
        if let Some(route) = jvm_route {
            text.push('.');
            text.push_str(route);
        }
        Self(text.into())
    }

    /// The text.
    pub const fn as_java(&self) -> &JavaString {
        &self.0
    }

    /// The text in modified UTF-8, as it is on the wire.
    pub fn as_modified_utf8(&self) -> &[u8] {
        self.0.as_modified_utf8()
    }

    /// What stands before the first `.`: the whole id if there is none.
    pub fn base(&self) -> &[u8] {
        let text = self.as_modified_utf8();
        text.split(|&byte| byte == b'.').next().unwrap_or(text)
    }

    /// What stands after the first `.`, if there is one. `JvmRouteBinderValve` compares it with its own route.
    pub fn jvm_route(&self) -> Option<&[u8]> {
        let text = self.as_modified_utf8();
        let dot = text.iter().position(|&byte| byte == b'.')?;
        text.get(dot.saturating_add(1)..)
    }

    /// The same id with another route: what stands before the first `.`, `.`, `jvm_route`.
    pub fn with_jvm_route(&self, jvm_route: &str) -> Self {
        let mut text = Vec::with_capacity(
            self.base()
                .len()
                .saturating_add(jvm_route.len())
                .saturating_add(1),
        );
        text.extend_from_slice(self.base());
        text.push(b'.');
        text.extend_from_slice(JavaString::from(jvm_route).as_modified_utf8());
        JavaString::from_modified_utf8(text.into()).map_or_else(|| self.clone(), Self)
    }

    /// A number that is the same for the same id on every node: FNV-1a over the text.
    pub(crate) fn lane(&self) -> u64 {
        lane(self.as_modified_utf8())
    }
}

/// FNV-1a: the key of an ordered lane.
pub(crate) fn lane(text: &[u8]) -> u64 {
    text.iter().fold(0xCBF2_9CE4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

impl Hash for SessionId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_modified_utf8().hash(state);
    }
}

impl Borrow<[u8]> for SessionId {
    fn borrow(&self) -> &[u8] {
        self.as_modified_utf8()
    }
}

impl From<JavaString> for SessionId {
    fn from(text: JavaString) -> Self {
        Self(text)
    }
}

impl From<&str> for SessionId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for SessionId {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_route_is_what_follows_the_first_dot() {
        type Case<'a> = (&'a str, &'a [u8], Option<&'a [u8]>, &'a str);
        #[rustfmt::skip]
        let cases: &[Case<'_>] = &[
            ("ABC",      b"ABC", None,          "ABC.n2"),
            ("ABC.n1",   b"ABC", Some(b"n1"),   "ABC.n2"),
            ("ABC.n1.x", b"ABC", Some(b"n1.x"), "ABC.n2"),
            ("ABC.",     b"ABC", Some(b""),     "ABC.n2"),
            ("",         b"",    None,          ".n2"),
        ];
        for &(text, base, route, moved) in cases {
            let id = SessionId::from(text);
            assert_eq!((id.base(), id.jvm_route()), (base, route), "{text}");
            assert_eq!(id.with_jvm_route("n2"), SessionId::from(moved), "{text}");
        }
    }

    #[test]
    fn a_random_id_looks_like_tomcats() {
        let mut rng = Rng::new([1; 32]);
        let id = SessionId::random(&mut rng, 16, Some("nodeA"));
        assert_eq!(id.base().len(), 32);
        assert!(
            id.base()
                .iter()
                .all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')),
            "{id}"
        );
        assert_eq!(id.jvm_route(), Some(&b"nodeA"[..]));
        assert_ne!(id, SessionId::random(&mut rng, 16, Some("nodeA")));
        assert_eq!(SessionId::random(&mut rng, 40, None).base().len(), 80);
    }
}
