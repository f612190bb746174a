//! Byte arrays as configuration writes them: `{1,-2,3}` (`util.Arrays.fromString`).

use core::fmt;

use super::sink::Sink;

/// Appends the bytes that `text` lists: signed decimal numbers separated by commas, in braces, without
/// blanks. `{}` is no byte.
///
/// # Errors
/// [`ParseBracesError`] if it is not such a list, or has more bytes than `to` takes.
pub fn parse(text: &str, to: &mut impl Sink) -> Result<(), ParseBracesError> {
    let inner = text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    let inner = inner.ok_or(ParseBracesError)?;
    if inner.is_empty() {
        return Ok(());
    }
    for number in inner.split(',') {
        let byte = number.parse::<i8>().map_err(|_| ParseBracesError)?;
        to.put_u8(byte.cast_unsigned())
            .map_err(|_| ParseBracesError)?;
    }
    Ok(())
}

/// Shows bytes as Tribes prints a host in a member's name: `{127, 0, 0, 1}`, unsigned.
#[derive(Clone, Copy, Debug)]
pub struct Braces<'a>(pub &'a [u8]);

impl fmt::Display for Braces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, byte) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{byte}")?;
        }
        f.write_str("}")
    }
}

/// Text is not a list of signed bytes in braces, or lists too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ParseBracesError;

impl fmt::Display for ParseBracesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a list of bytes: write signed bytes without blanks, as {1,-2,3}")
    }
}

impl core::error::Error for ParseBracesError {}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn only_signed_bytes_without_blanks_are_read() {
        #[rustfmt::skip]
        let cases: &[(&str, Option<&[u8]>)] = &[
            ("{1,-2,3}",   Some(&[1, 254, 3])),
            ("{127,0,0,1}", Some(&[127, 0, 0, 1])),
            ("{-128}",     Some(&[128])),
            ("{}",         Some(&[])),
            ("{128}",      None),
            ("{1, 2}",     None),
            ("{1,2",       None),
            ("1,2}",       None),
            ("{1,,2}",     None),
            ("{1,2,}",     None),
            ("",           None),
        ];
        for (text, want) in cases {
            let mut bytes = Vec::new();
            let got = parse(text, &mut bytes).map(|()| bytes);
            assert_eq!(got.ok().as_deref(), *want, "{text}");
        }
    }

    #[test]
    fn more_bytes_than_fit_are_refused() {
        assert!(parse("{1,2,3}", &mut heapless::Vec::<u8, 2>::new()).is_err());
    }

    #[test]
    fn bytes_are_shown_unsigned() {
        assert_eq!(Braces(&[127, 0, 0, 255]).to_string(), "{127, 0, 0, 255}");
    }
}
