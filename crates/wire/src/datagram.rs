//! What is JSON among datagrams, and where its text begins and ends.
//!
//! Devices send what their buffers hold: a byte order mark or blanks in front, the NUL that ends a string of C behind.

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The JSON text of a datagram, or `None` if it is not JSON but, if anything, CoAP.
///
/// No message of CoAP is taken for JSON: a brace or a bracket as its first byte says that the token is longer than any, white
/// space and a byte order mark name a version that does not exist.
#[must_use]
pub fn json(datagram: &[u8]) -> Option<&[u8]> {
    let text = text(datagram);
    matches!(text.trim_ascii_start().first(), Some(b'{' | b'[')).then_some(text)
}

/// A payload without a byte order mark in front, and without NULs and white space behind. White space in front stays, so that
/// an error counts its byte from there.
#[must_use]
pub fn text(payload: &[u8]) -> &[u8] {
    let text = payload.strip_prefix(BYTE_ORDER_MARK).unwrap_or(payload);
    let is_behind = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let bytes = text.iter().rposition(|byte| !is_behind(byte)).map_or(0, |last| last + 1);
    &text[..bytes]
}
