//! Java strings as they are on the wire.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::text::is_modified_utf8;

/// A Java string: UTF-16 that need not be well formed, kept in Java's modified UTF-8. Clones share the bytes.
///
/// U+0000 is `C0 80`, and a character beyond U+FFFF is two groups of three bytes, one for each surrogate. A lone
/// surrogate is legal in Java and survives. Order and equality are those of the encoded bytes, which order
/// characters as UTF-16 does, except for U+0000.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct JavaString(Bytes);

impl JavaString {
    /// The empty string.
    pub const fn new() -> Self {
        Self(Bytes::new())
    }

    /// A string from its modified UTF-8; `None` if it is not that.
    pub fn from_modified_utf8(bytes: Bytes) -> Option<Self> {
        is_modified_utf8(&bytes).then_some(Self(bytes))
    }

    /// For bytes that have been checked already.
    pub(crate) const fn from_checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// A string from its UTF-16 code units, of which surrogates may be unpaired.
    pub fn from_utf16(units: &[u16]) -> Self {
        let mut bytes = Vec::with_capacity(units.len());
        for &unit in units {
            push_unit(&mut bytes, unit);
        }
        Self(bytes.into())
    }

    /// The modified UTF-8.
    pub fn as_modified_utf8(&self) -> &[u8] {
        &self.0
    }

    /// The modified UTF-8, shared.
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether it has no characters.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The length in modified UTF-8: what `writeUTF` counts. At most 65 535 where `writeUTF` writes it.
    pub const fn encoded_len(&self) -> usize {
        self.0.len()
    }

    /// The UTF-16 code units.
    pub fn utf16(&self) -> impl Iterator<Item = u16> + '_ {
        units(&self.0)
    }

    /// The text; `None` if it has a lone surrogate. Borrowed unless it has U+0000 or characters beyond U+FFFF.
    pub fn to_str(&self) -> Option<Cow<'_, str>> {
        if let Ok(text) = core::str::from_utf8(&self.0) {
            return Some(Cow::Borrowed(text));
        }
        let text: Result<String, _> = char::decode_utf16(self.utf16()).collect();
        text.ok().map(Cow::Owned)
    }

    /// The text, with U+FFFD for each lone surrogate.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        if let Ok(text) = core::str::from_utf8(&self.0) {
            return Cow::Borrowed(text);
        }
        let chars = char::decode_utf16(self.utf16());
        Cow::Owned(
            chars
                .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect(),
        )
    }
}

fn push_unit(bytes: &mut Vec<u8>, unit: u16) {
    let low = |shift: u16| 0x80 | ((unit >> shift) & 0x3F) as u8;
    match unit {
        1..=0x7F => bytes.push(unit as u8),
        0 | 0x80..=0x7FF => bytes.extend([0xC0 | (unit >> 6) as u8, low(0)]),
        _ => bytes.extend([0xE0 | (unit >> 12) as u8, low(6), low(0)]),
    }
}

/// The code units of modified UTF-8 that has been checked.
pub(crate) fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let bits = |byte: u8, mask: u8| u16::from(byte & mask);
        let (unit, tail) = match rest {
            [] => return None,
            [a @ 0xE0..=0xEF, b, c, tail @ ..] => (
                bits(*a, 0x0F) << 12 | bits(*b, 0x3F) << 6 | bits(*c, 0x3F),
                tail,
            ),
            [a @ 0xC0..=0xDF, b, tail @ ..] => (bits(*a, 0x1F) << 6 | bits(*b, 0x3F), tail),
            [a, tail @ ..] => (u16::from(*a), tail),
        };
        rest = tail;
        Some(unit)
    })
}

/// Whether UTF-8 is modified UTF-8 already: it has neither U+0000 nor characters beyond U+FFFF.
pub(crate) fn is_the_same(utf8: &[u8]) -> bool {
    let plain = |byte: &u8| *byte != 0 && *byte < 0xF0;
    // Without a way out within a chunk, so that a chunk is looked at as a whole.
    let (chunks, rest) = utf8.as_chunks::<32>();
    chunks
        .iter()
        .all(|chunk| chunk.iter().fold(true, |all, byte| all & plain(byte)))
        && rest.iter().all(plain)
}

impl From<&str> for JavaString {
    fn from(text: &str) -> Self {
        if is_the_same(text.as_bytes()) {
            return Self(Bytes::copy_from_slice(text.as_bytes()));
        }
        let mut bytes = Vec::with_capacity(text.len());
        for unit in text.encode_utf16() {
            push_unit(&mut bytes, unit);
        }
        Self(bytes.into())
    }
}

impl From<String> for JavaString {
    fn from(text: String) -> Self {
        if is_the_same(text.as_bytes()) {
            return Self(text.into_bytes().into());
        }
        Self::from(text.as_str())
    }
}

/// The encoded bytes: equality, order and hash are theirs.
impl core::borrow::Borrow<[u8]> for JavaString {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq<str> for JavaString {
    fn eq(&self, other: &str) -> bool {
        self.0.as_ref() == other.as_bytes() || self.utf16().eq(other.encode_utf16())
    }
}

impl PartialEq<&str> for JavaString {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl fmt::Display for JavaString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_string_lossy())
    }
}

impl fmt::Debug for JavaString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_string_lossy(), f)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for JavaString {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", &*self.to_string_lossy());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_what_its_code_units_become_wherever_a_special_character_stands() {
        for len in [0, 1, 31, 32, 33, 64, 70] {
            for special in ['a', 'é', '€', '\0', '\u{10000}', '😀'] {
                for at in 0..=len {
                    let plain = "x".repeat(len);
                    let (before, after) = plain.split_at(at);
                    let text = alloc::format!("{before}{special}{after}");
                    let units: Vec<u16> = text.encode_utf16().collect();
                    let wanted = JavaString::from_utf16(&units);
                    assert_eq!(JavaString::from(text.as_str()), wanted, "{text:?}");
                    assert_eq!(wanted, text.as_str());
                    assert_eq!(JavaString::from(text), wanted);
                }
            }
        }
    }
}
