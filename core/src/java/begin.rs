//! What streams, boxed values and byte arrays begin with, up to the value itself.

/// The magic number and version every stream begins with.
pub const STREAM_HEADER: [u8; 4] = [0xAC, 0xED, 0x00, 0x05];

pub(crate) const BOOLEAN: &[u8] =
    b"sr\0\x11java.lang.Boolean\xCD r\x80\xD5\x9C\xFA\xEE\x02\0\x01Z\0\x05valuexp";
pub(crate) const CHARACTER: &[u8] =
    b"sr\0\x13java.lang.Character4\x8BG\xD9k\x1A&x\x02\0\x01C\0\x05valuexp";
pub(crate) const BYTE: &[u8] =
    b"sr\0\x0Ejava.lang.Byte\x9CN`\x84\xEEP\xF5\x1C\x02\0\x01B\0\x05valuexr\0\x10java.lang.Number\x86\xAC\x95\x1D\x0B\x94\xE0\x8B\x02\0\0xp";
pub(crate) const SHORT: &[u8] =
    b"sr\0\x0Fjava.lang.ShorthM7\x134`\xDAR\x02\0\x01S\0\x05valuexr\0\x10java.lang.Number\x86\xAC\x95\x1D\x0B\x94\xE0\x8B\x02\0\0xp";
pub(crate) const INTEGER: &[u8] =
    b"sr\0\x11java.lang.Integer\x12\xE2\xA0\xA4\xF7\x81\x878\x02\0\x01I\0\x05valuexr\0\x10java.lang.Number\x86\xAC\x95\x1D\x0B\x94\xE0\x8B\x02\0\0xp";
pub(crate) const LONG: &[u8] =
    b"sr\0\x0Ejava.lang.Long;\x8B\xE4\x90\xCC\x8F#\xDF\x02\0\x01J\0\x05valuexr\0\x10java.lang.Number\x86\xAC\x95\x1D\x0B\x94\xE0\x8B\x02\0\0xp";
pub(crate) const FLOAT: &[u8] =
    b"sr\0\x0Fjava.lang.Float\xDA\xED\xC9\xA2\xDB<\xF0\xEC\x02\0\x01F\0\x05valuexr\0\x10java.lang.Number\x86\xAC\x95\x1D\x0B\x94\xE0\x8B\x02\0\0xp";
pub(crate) const DOUBLE: &[u8] =
    b"sr\0\x10java.lang.Double\x80\xB3\xC2J)k\xFB\x04\x02\0\x01D\0\x05valuexr\0\x10java.lang.Number\x86\xAC\x95\x1D\x0B\x94\xE0\x8B\x02\0\0xp";
pub(crate) const BYTES: &[u8] = b"ur\0\x02[B\xAC\xF3\x17\xF8\x06\x08T\xE0\x02\0\0xp";
