//! Java's modified UTF-8.

/// Whether `bytes` is what `DataInput.readUTF` accepts: groups of one to three bytes, nothing cut off.
///
/// As Java does, it lets a single zero byte and longer than necessary groups pass: they are carried unchanged.
pub(crate) fn is_modified_utf8(bytes: &[u8]) -> bool {
    if bytes.is_ascii() {
        return true;
    }
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return true,
            [0..=0x7F, rest @ ..] => rest,
            [0xC0..=0xDF, 0x80..=0xBF, rest @ ..] => rest,
            [0xE0..=0xEF, 0x80..=0xBF, 0x80..=0xBF, rest @ ..] => rest,
            _ => return false,
        };
    }
}
