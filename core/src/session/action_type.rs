//! What a change of a session is about.

/// What an `Action` of a `DeltaRequest` changes: `DeltaRequest.TYPE_*`. Unknown numbers are carried; appliers skip them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ActionType(pub i32);

impl ActionType {
    /// 0: an attribute.
    pub const ATTRIBUTE: Self = Self(0);
    /// 1: the principal.
    pub const PRINCIPAL: Self = Self(1);
    /// 2: the new flag.
    pub const IS_NEW: Self = Self(2);
    /// 3: the interval after which an unused session times out, in seconds.
    pub const MAX_INTERVAL: Self = Self(3);
    /// 4: the authentication type.
    pub const AUTH_TYPE: Self = Self(4);
    /// 5: a session listener.
    pub const LISTENER: Self = Self(5);
    /// 6: a note.
    pub const NOTE: Self = Self(6);

    /// The name that actions of this kind have on the wire, if they have no name of their own, in modified UTF-8.
    pub const fn fixed_name_bytes(self) -> Option<&'static [u8]> {
        Some(match self {
            Self::PRINCIPAL => b"__SET__PRINCIPAL__",
            Self::IS_NEW => b"__SET__ISNEW__",
            Self::MAX_INTERVAL => b"__SET__MAXINTERVAL__",
            Self::AUTH_TYPE => b"__SET__AUTHTYPE__",
            Self::LISTENER => b"__SET__LISTENER__",
            _ => return None,
        })
    }

    /// [`fixed_name_bytes`](Self::fixed_name_bytes) as a Java string.
    #[cfg(feature = "alloc")]
    pub fn fixed_name(self) -> Option<crate::java::JavaString> {
        let name = bytes::Bytes::from_static(self.fixed_name_bytes()?);
        crate::java::JavaString::from_modified_utf8(name)
    }
}
