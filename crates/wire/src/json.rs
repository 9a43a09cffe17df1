//! How mistakes in JSON are reported: by the byte, counted from 1. What may stand before a text.

/// The byte order mark of UTF-8, which editors and .NET write before a text.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A text without the byte order mark before it.
pub(crate) fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(BOM).unwrap_or(text)
}

/// Where and why bytes are not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// Counted from 1; the last byte if the text ends too early.
    pub(crate) byte: usize,
    pub(crate) message: String,
}

impl Mistake {
    /// The mistake in a text from which [`without_bom`] removed the mark; its byte is counted in the body.
    pub(crate) fn within(body: &[u8], text: &[u8], error: &serde_json::Error) -> Self {
        let mistake = Self::new(text, error);
        Self { byte: mistake.byte + (body.len() - text.len()), ..mistake }
    }

    pub(crate) fn new(text: &[u8], error: &serde_json::Error) -> Self {
        let line_start = match error.line() {
            0 | 1 => 0,
            line => memchr::memchr_iter(b'\n', text).nth(line - 2).map_or(0, |end| end + 1),
        };
        let whole = error.to_string();
        // The library ends its message with the line and column, which mean nothing inside an element or a line.
        let message = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(message, _)| message);
        let message = message.replace("EOF while parsing", "the text ends inside");
        Self { byte: (line_start + error.column()).clamp(1, text.len().max(1)), message }
    }
}

/// A piece of the input for a message: bounded in length, control characters escaped.
pub(crate) fn quoted(text: &str) -> String {
    const CHARS_MAX: usize = 40;
    let mut cut: String = text.chars().take(CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}
