//! What can be wrong with a Java object stream.

use core::fmt;

/// Why a Java object stream could not be read or written, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct JavaError {
    /// The offset in the stream of the first byte that shows it.
    pub offset: usize,
    /// What is wrong there.
    pub kind: JavaErrorKind,
}

/// What is wrong with a Java object stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum JavaErrorKind {
    /// The stream does not begin with `AC ED 00 05`.
    BadHeader,
    /// The stream ends inside an item.
    Truncated,
    /// Bytes follow where the stream should have ended.
    Trailing,
    /// A byte that is no type code, or not one that may stand here.
    BadTypeCode(u8),
    /// A back reference to a handle that has not been assigned, or to something that does not belong here.
    BadHandle(u32),
    /// A negative length or count.
    NegativeLength,
    /// Text that is not modified UTF-8.
    BadText,
    /// A class descriptor that no Java writer produces: object fields before primitive ones, an unknown field
    /// type, an enum with fields, a class that is its own superclass.
    BadDescriptor,
    /// An `Externalizable` class written with protocol 1 (flags without `BLOCK_DATA`): the extent of its data is
    /// not knowable.
    UnknownExtent,
    /// More nested than [`Limits::depth`](super::Limits::depth), or more superclasses than any class has.
    TooDeep,
    /// More objects, strings and descriptors than [`Limits::objects`](super::Limits::objects).
    TooManyObjects,
    /// A string longer than [`Limits::string_bytes`](super::Limits::string_bytes).
    StringTooLong,
    /// An array longer than [`Limits::array_elements`](super::Limits::array_elements).
    ArrayTooLong,
    /// A stream longer than [`Limits::total_bytes`](super::Limits::total_bytes).
    StreamTooLong,
    /// The writer failed inside this object and left the exception instead (`TC_EXCEPTION`). The input stands
    /// after it, and what follows can be read.
    WriteAborted,
    /// Block data where an object was asked for.
    ExpectedObject,
    /// An object where block data was asked for, or too little block data.
    ExpectedData,
    /// An object of another class than the one asked for.
    WrongClass,
    /// The end of the stream where an item was asked for.
    End,
    /// A text of more than 65 535 encoded bytes where `writeUTF` has to write it.
    TextTooLong,
}

impl JavaErrorKind {
    pub(crate) const fn at(self, offset: usize) -> JavaError {
        JavaError { offset, kind: self }
    }
}

impl JavaError {
    /// Whether only this one object is lost (`TC_EXCEPTION`) and reading can go on after it.
    pub const fn is_write_aborted(&self) -> bool {
        matches!(self.kind, JavaErrorKind::WriteAborted)
    }
}

impl fmt::Display for JavaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use JavaErrorKind as K;
        write!(f, "Java stream, byte {}: ", self.offset)?;
        match self.kind {
            K::BadHeader => f.write_str("does not begin with AC ED 00 05"),
            K::Truncated => f.write_str("the stream ends inside an item"),
            K::Trailing => f.write_str("bytes follow the last item"),
            K::BadTypeCode(code) => write!(f, "type code {code:#04x} cannot stand here"),
            K::BadHandle(handle) => write!(f, "back reference {handle:#x} leads nowhere"),
            K::NegativeLength => f.write_str("negative length"),
            K::BadText => f.write_str("not modified UTF-8"),
            K::BadDescriptor => f.write_str("impossible class descriptor"),
            K::UnknownExtent => {
                f.write_str("externalizable data of protocol 1, whose extent is unknown")
            }
            K::TooDeep => f.write_str("nested deeper than the limit"),
            K::TooManyObjects => f.write_str("more objects than the limit"),
            K::StringTooLong => f.write_str("a string longer than the limit"),
            K::ArrayTooLong => f.write_str("an array longer than the limit"),
            K::StreamTooLong => f.write_str("longer than the limit"),
            K::WriteAborted => {
                f.write_str("the writer failed inside this object and left an exception")
            }
            K::ExpectedObject => f.write_str("block data where an object was expected"),
            K::ExpectedData => f.write_str("an object where block data was expected"),
            K::WrongClass => f.write_str("an object of another class than expected"),
            K::End => f.write_str("the stream ends where an item was expected"),
            K::TextTooLong => {
                f.write_str("a text of more than 65535 encoded bytes cannot be written here")
            }
        }
    }
}

impl core::error::Error for JavaError {}
