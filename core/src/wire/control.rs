//! Messages of the channel itself: probes and the notices of static members.
//!
//! They are known by their bytes alone and never reach an application.

/// What `TcpFailureDetector` sends over a connection it opened to see whether a member lives.
#[rustfmt::skip]
pub const TCP_FAIL_DETECT: [u8; 64] = [
    0x4f, 0xa7, 0x73, 0x48, 0x79, 0x82, 0x43, 0xc9, 0x9f, 0x6f, 0x89, 0x80, 0xa1, 0x5b, 0x07, 0x14,
    0x7d, 0xd9, 0x52, 0x5b, 0xeb, 0xf1, 0x43, 0x9a, 0xb7, 0x7e, 0xbe, 0x8f, 0x81, 0x67, 0x1e, 0xb6,
    0x37, 0x15, 0xbe, 0x87, 0x45, 0x7e, 0x4c, 0xa8, 0xbf, 0x0a, 0x4d, 0x13, 0x53, 0x38, 0x15, 0x32,
    0x55, 0xf6, 0x94, 0xb7, 0x3a, 0xfa, 0x40, 0x78, 0x91, 0x04, 0x7d, 0xd7, 0x72, 0x84, 0xc0, 0xd5,
];

/// What `TcpPingInterceptor` sends to every member from time to time.
#[rustfmt::skip]
pub const TCP_PING: [u8; 64] = [
    0x4f, 0xa7, 0x73, 0x48, 0x79, 0xdf, 0x43, 0xc9, 0x9f, 0x6f, 0x89, 0x80, 0xa1, 0x5b, 0x07, 0x14,
    0x7d, 0xd9, 0x52, 0x5b, 0xeb, 0xdf, 0x43, 0x9a, 0xb7, 0x7e, 0xbe, 0x8f, 0x81, 0x67, 0x1e, 0xb6,
    0x37, 0x15, 0xbe, 0x87, 0x45, 0x21, 0x4c, 0xa8, 0xbf, 0x0a, 0x4d, 0x13, 0x53, 0x38, 0x15, 0x32,
    0x55, 0xf6, 0x94, 0xb7, 0x3a, 0xdf, 0x21, 0x78, 0x91, 0x04, 0x7d, 0xd7, 0x72, 0x84, 0xc0, 0xd5,
];

/// A static member is there (`StaticMembershipInterceptor.MEMBER_START`).
pub const MEMBER_START: [u8; 36] = *b"Local StaticMember Notification Data";

/// A static member leaves (`StaticMembershipInterceptor.MEMBER_STOP`).
pub const MEMBER_STOP: [u8; 32] = *b"Local StaticMember Shutdown Data";

/// What a message says that is the channel's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Control {
    /// [`TCP_FAIL_DETECT`]
    TcpFailDetect,
    /// [`TCP_PING`]
    TcpPing,
    /// [`MEMBER_START`]
    MemberStart,
    /// [`MEMBER_STOP`]
    MemberStop,
}

impl Control {
    /// What `message` is, whatever its options say; `None` if it is for the application.
    #[inline]
    pub fn classify(message: &[u8]) -> Option<Self> {
        // The length alone sends nearly every message past the comparisons.
        match message.len() {
            64 if message == TCP_FAIL_DETECT => Some(Self::TcpFailDetect),
            64 if message == TCP_PING => Some(Self::TcpPing),
            36 if message == MEMBER_START => Some(Self::MemberStart),
            32 if message == MEMBER_STOP => Some(Self::MemberStop),
            _ => None,
        }
    }

    /// The bytes of the message.
    pub const fn message(self) -> &'static [u8] {
        match self {
            Self::TcpFailDetect => &TCP_FAIL_DETECT,
            Self::TcpPing => &TCP_PING,
            Self::MemberStart => &MEMBER_START,
            Self::MemberStop => &MEMBER_STOP,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exactly_these_bytes_are_the_channels_own() {
        let all = [
            Control::TcpFailDetect,
            Control::TcpPing,
            Control::MemberStart,
            Control::MemberStop,
        ];
        for control in all {
            let message = control.message();
            assert_eq!(Control::classify(message), Some(control));
            assert_eq!(Control::classify(&message[1..]), None, "{control:?}");
            for at in 0..message.len() {
                let mut other = message.to_vec();
                other[at] ^= 1;
                assert_eq!(Control::classify(&other), None, "{control:?}, {at}");
            }
        }
        assert_eq!(Control::classify(b""), None);
    }

    #[test]
    fn the_probe_and_the_ping_differ_where_tribes_says() {
        let differ = |at: &usize| TCP_FAIL_DETECT[*at] != TCP_PING[*at];
        let at: std::vec::Vec<_> = (0..64).filter(differ).collect();
        assert_eq!(at, [5, 21, 37, 53, 54]);
    }
}
