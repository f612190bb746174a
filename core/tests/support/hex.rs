//! Lower-case hexadecimal text.

/// The bytes that `text` names; `None` if it is not pairs of digits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let digit = |c: u8| char::from(c).to_digit(16);
    let byte = |&[high, low]: &[u8; 2]| Some((digit(high)? << 4 | digit(low)?) as u8);
    odd.is_empty().then(|| pairs.iter().map(byte).collect())?
}

/// The text of `bytes`.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
