//! Sixteen bytes that name a member, a message or a view (`UUIDGenerator`, `UniqueId`).

use core::fmt;
use core::str::FromStr;

use super::braces;
use crate::rng::Rng;

/// A name nobody else has: 16 bytes that peers compare and never interpret.
///
/// As text it is 32 hexadecimal digits; Tomcat's brace syntax (`{1,-2,…}`, 16 signed bytes) is read too.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UniqueId(pub [u8; 16]);

impl UniqueId {
    /// How many bytes it has.
    pub const LEN: usize = 16;

    /// A new one: a version 4 UUID, as `UUIDGenerator.randomUUID` makes them.
    pub fn random(rng: &mut Rng) -> Self {
        let mut bytes = [0; 16];
        rng.fill(&mut bytes);
        let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
        *version = *version & 0x0f | 0x40;
        *variant = *variant & 0x3f | 0x80;
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for UniqueId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl AsRef<[u8]> for UniqueId {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UniqueId({self})")
    }
}

impl FromStr for UniqueId {
    type Err = ParseUniqueIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with('{') {
            let mut bytes = heapless::Vec::<u8, 16>::new();
            braces::parse(text, &mut bytes).map_err(|_| ParseUniqueIdError)?;
            return bytes.into_array().map(Self).map_err(|_| ParseUniqueIdError);
        }
        let (pairs, odd) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != Self::LEN || !odd.is_empty() {
            return Err(ParseUniqueIdError);
        }
        let mut bytes = [0; 16];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }
}

fn digit(character: u8) -> Result<u8, ParseUniqueIdError> {
    let value = char::from(character).to_digit(16);
    value
        .and_then(|value| u8::try_from(value).ok())
        .ok_or(ParseUniqueIdError)
}

/// Text is neither 32 hexadecimal digits nor 16 signed bytes in braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ParseUniqueIdError;

impl fmt::Display for ParseUniqueIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a unique id: write 32 hexadecimal digits, or 16 signed bytes as {1,-2,…}")
    }
}

impl core::error::Error for ParseUniqueIdError {}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn a_random_id_is_a_version_4_uuid_and_not_repeated() {
        let mut rng = Rng::new([3; 32]);
        let (one, other) = (UniqueId::random(&mut rng), UniqueId::random(&mut rng));
        assert_ne!(one, other);
        for id in [one, other] {
            assert_eq!(id.0[6] >> 4, 4);
            assert_eq!(id.0[8] >> 6, 2);
        }
    }

    #[test]
    fn both_ways_of_writing_it_are_read() {
        let want = UniqueId([0, 1, 255, 128, 127, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        #[rustfmt::skip]
        let cases = [
            ("0001ff807f05060708090a0b0c0d0e0f",            Some(want)),
            ("0001FF807F05060708090A0B0C0D0E0F",            Some(want)),
            ("{0,1,-1,-128,127,5,6,7,8,9,10,11,12,13,14,15}", Some(want)),
            ("{0,1,255,-128,127,5,6,7,8,9,10,11,12,13,14,15}", None),
            ("{0,1}",                                       None),
            ("{0,1,-1,-128,127,5,6,7,8,9,10,11,12,13,14,15,16}", None),
            ("{0, 1,-1,-128,127,5,6,7,8,9,10,11,12,13,14,15}", None),
            ("0001ff807f05060708090a0b0c0d0e0",             None),
            ("0001ff807f05060708090a0b0c0d0e0f0",           None),
            ("0001ff807f05060708090a0b0c0d0e0g",            None),
            ("+001ff807f05060708090a0b0c0d0e0f",            None),
            ("",                                            None),
            ("{",                                           None),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse().ok(), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(bytes: [u8; 16]) {
            prop_assert_eq!(UniqueId(bytes).to_string().parse(), Ok(UniqueId(bytes)));
        }
    }
}
