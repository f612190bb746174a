//! How a message is to be delivered (`Channel.SEND_OPTIONS_*`).

use core::fmt;
use core::ops::{BitOr, BitOrAssign};
use core::str::FromStr;

/// The `options` word of a message.
///
/// Bits that have no name here belong to interceptors and applications: they are carried, not rejected.
/// As text it is what `Channel.parseSendOptions` reads and `getSendOptionsAsString` renders: a decimal
/// integer, or names separated by commas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SendOptions(u32);

impl SendOptions {
    /// No bit at all.
    pub const NONE: Self = Self(0);
    /// The message is bytes, not a Java object stream. The channel sets or clears it by what it is given.
    pub const BYTE_MESSAGE: Self = Self(0x01);
    /// The receiver answers with an ACK; Tribes' default.
    pub const USE_ACK: Self = Self(0x02);
    /// The ACK waits until the message has been processed. Means nothing without [`USE_ACK`](Self::USE_ACK).
    pub const SYNCHRONIZED_ACK: Self = Self(0x04);
    /// The sender queues the message and does not wait.
    pub const ASYNCHRONOUS: Self = Self(0x08);
    /// Defined by Tribes and used nowhere in it.
    pub const SECURE: Self = Self(0x10);
    /// As a datagram to the member's UDP port.
    pub const UDP: Self = Self(0x20);
    /// As one datagram to the multicast group, whoever the destinations are.
    pub const MULTICAST: Self = Self(0x40);

    /// The word with exactly these bits.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// All bits, known or not.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits and those of `other`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These bits but none of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// When, if ever, the receiver owes the sender an ACK (`NioReplicationTask.drainChannel`).
    pub const fn ack_policy(self) -> AckPolicy {
        match (
            self.contains(Self::USE_ACK),
            self.contains(Self::SYNCHRONIZED_ACK),
        ) {
            (false, _) => AckPolicy::Never,
            (true, false) => AckPolicy::OnReceipt,
            (true, true) => AckPolicy::OnProcessed,
        }
    }
}

/// When a receiver answers a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum AckPolicy {
    /// Not at all.
    Never,
    /// With an ACK, before the message is handed on: what happens later is not reported.
    OnReceipt,
    /// With an ACK when the listeners are done, or with a FAIL_ACK if one failed.
    OnProcessed,
}

impl BitOr for SendOptions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for SendOptions {
    fn bitor_assign(&mut self, other: Self) {
        *self = self.union(other);
    }
}

/// The names, by bit; the first is the one Tomcat renders.
const NAMES: [(SendOptions, &str, &str); 7] = [
    (SendOptions::BYTE_MESSAGE, "byte", "byte_message"),
    (SendOptions::USE_ACK, "use_ack", "use_ack"),
    (SendOptions::SYNCHRONIZED_ACK, "sync", "synchronized_ack"),
    (SendOptions::ASYNCHRONOUS, "async", "asynchronous"),
    (SendOptions::SECURE, "secure", "secure"),
    (SendOptions::UDP, "udp", "udp"),
    (SendOptions::MULTICAST, "multicast", "multicast"),
];

impl fmt::Display for SendOptions {
    /// The names of the bits that have one, the highest first: `async, use_ack`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (option, name, _) in NAMES.iter().rev() {
            if self.contains(*option) {
                f.write_str(separator)?;
                f.write_str(name)?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

impl FromStr for SendOptions {
    type Err = ParseSendOptionsError;

    /// Nothing is 0; a decimal integer with an optional sign is itself; all else is names. Blanks are
    /// allowed around commas only, and commas at the end are ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::NONE);
        }
        if let Ok(number) = text.parse::<i32>() {
            return Ok(Self(number.cast_unsigned()));
        }
        // Trailing empty names vanish, as in Java's `split`; others are errors.
        let names = text.trim_end_matches(|c| c == ',' || is_blank(c));
        let names = if text
            .get(names.len()..)
            .is_some_and(|tail| tail.bytes().any(|byte| byte == b','))
        {
            names
        } else {
            text
        };
        if names.is_empty() {
            return Ok(Self::NONE);
        }
        let mut options = Self::NONE;
        let (mut rest, mut at) = (names, 0usize);
        loop {
            // `split` and `split_once` of `str` can panic as far as a compiler sees; this cannot.
            let comma = rest.bytes().position(|byte| byte == b',');
            let (name, more) = match comma.and_then(|comma| rest.split_at_checked(comma)) {
                Some((name, more)) => (name.trim_end_matches(is_blank), more.strip_prefix(',')),
                None => (rest, None),
            };
            let name = match at {
                0 => name,
                _ => name.trim_start_matches(is_blank),
            };
            options |= named(name).ok_or(ParseSendOptionsError { at })?;
            match more {
                Some(more) => (rest, at) = (more, at.saturating_add(1)),
                None => break,
            }
        }
        Ok(options)
    }
}

fn named(name: &str) -> Option<SendOptions> {
    let found = NAMES
        .iter()
        .find(|(_, short, long)| name == *short || name == *long);
    found.map(|(option, _, _)| *option)
}

/// What `\s` means to a Java pattern.
const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// Text is neither an integer nor a list of the names of send options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ParseSendOptionsError {
    /// Which of the names between the commas is unknown, counted from 0.
    pub at: usize,
}

impl fmt::Display for ParseSendOptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown send option (entry {}): use a decimal integer, or",
            self.at.saturating_add(1)
        )?;
        for (at, (_, short, long)) in NAMES.iter().enumerate() {
            f.write_str(if at == 0 { " " } else { ", " })?;
            f.write_str(short)?;
            if short != long {
                write!(f, " ({long})")?;
            }
        }
        f.write_str(", separated by commas")
    }
}

impl core::error::Error for ParseSendOptionsError {}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_read_as_tomcat_reads_it() {
        #[rustfmt::skip]
        let cases: &[(&str, Option<u32>)] = &[
            ("",                        Some(0)),
            ("8",                       Some(8)),
            ("+8",                      Some(8)),
            ("-1",                      Some(u32::MAX)),
            ("007",                     Some(7)),
            ("2147483647",              Some(0x7fff_ffff)),
            ("2147483648",              None),
            (" 8",                      None),
            ("8,2",                     None),
            ("0x8",                     None),
            ("async",                   Some(8)),
            ("async,use_ack",           Some(10)),
            ("async \t,  use_ack",      Some(10)),
            ("sync,synchronized_ack",   Some(4)),
            ("async,",                  Some(8)),
            ("async,,",                 Some(8)),
            ("async , , ",              Some(8)),
            (",",                       Some(0)),
            (" ,",                      Some(0)),
            (",async",                  None),
            ("async,,sync",             None),
            (" async",                  None),
            ("async ",                  None),
            ("async,sync ",             None),
            (" ",                       None),
            ("Async",                   None),
            ("async;sync",              None),
            ("gzip",                    None),
        ];
        for (text, want) in cases {
            let got = text.parse::<SendOptions>().ok().map(SendOptions::bits);
            assert_eq!(got, *want, "{text:?}");
        }
    }

    #[test]
    fn a_refusal_says_which_entry_and_what_would_be_right() {
        let error = "async,ack".parse::<SendOptions>().unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("entry 2") && text.contains("use_ack"),
            "{text}"
        );
    }

    #[test]
    fn the_receiver_answers_when_both_sides_expect_it() {
        #[rustfmt::skip]
        let cases = [
            (0, AckPolicy::Never),  (4, AckPolicy::Never),      (8, AckPolicy::Never),
            (2, AckPolicy::OnReceipt), (10, AckPolicy::OnReceipt), (35, AckPolicy::OnReceipt),
            (6, AckPolicy::OnProcessed), (14, AckPolicy::OnProcessed),
        ];
        for (bits, want) in cases {
            assert_eq!(SendOptions::from_bits(bits).ack_policy(), want, "{bits}");
        }
    }

    #[test]
    fn bits_without_a_name_are_carried_and_not_shown() {
        let options = SendOptions::from_bits(0x0102);
        assert_eq!(options.to_string(), "use_ack");
        assert_eq!(options.without(SendOptions::USE_ACK).bits(), 0x0100);
        assert!((options | SendOptions::UDP).contains(SendOptions::UDP));
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_as_the_named_bits(bits: u32) {
            let shown = SendOptions::from_bits(bits).to_string();
            prop_assert_eq!(shown.parse(), Ok(SendOptions::from_bits(bits & 0x7f)));
        }

        #[test]
        fn any_text_is_read_or_refused(text: std::string::String) {
            let _ = text.parse::<SendOptions>();
        }
    }
}
