//! Bodies and files are cut into events, each a slice of the input: one object, an array of objects, or NDJSON. A byte order
//! mark before them is passed over.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::{FieldError, Reason, Refused};
use crate::json;

/// Maximum length of a line of NDJSON, in bytes, its end not counted; a longer line is refused.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Maximum number of elements of an array; a longer array is refused (contract section 9).
pub const ELEMENTS_MAX: usize = 10_000;

/// A line of NDJSON that is not blank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Counted from 1, blank lines too.
    pub number: usize,
    /// Without its end, or the reason why it is not even looked at.
    pub object: Result<&'a [u8], Refused>,
}

/// The lines of an NDJSON body, ended by `\n` or `\r\n`, without the blank ones and a leading byte order mark.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: Option<&'a [u8]>,
    number: usize,
}

/// The lines of an NDJSON body.
#[must_use]
pub fn lines(body: &[u8]) -> Lines<'_> {
    Lines { rest: Some(json::without_bom(body)), number: 0 }
}

/// Whether a body of NDJSON has more events than [`ELEMENTS_MAX`].
#[must_use]
pub fn has_too_many_lines(body: &[u8]) -> bool {
    // Ends of lines are counted much faster than lines that are not blank.
    memchr::memchr_iter(b'\n', body).count() >= ELEMENTS_MAX && lines(body).nth(ELEMENTS_MAX).is_some()
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            let text = self.rest?;
            let (line, after) = match memchr::memchr(b'\n', text) {
                Some(end) => (&text[..end], Some(&text[end + 1..])),
                None => (text, None),
            };
            self.rest = after;
            self.number += 1;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.trim_ascii().is_empty() {
                let object = if line.len() <= LINE_BYTES_MAX { Ok(line) } else { Err(too_long(line.len())) };
                return Some(Line { number: self.number, object });
            }
        }
    }
}

fn too_long(bytes: usize) -> Refused {
    let error = format!("the line has {bytes} bytes; send at most {LINE_BYTES_MAX} an event");
    Refused { id: None, errors: vec![FieldError { field: String::new(), error, reason: Reason::Size }] }
}

/// Why a body cannot be cut into events at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is not JSON.
    #[error("the body is not JSON: {message} at byte {byte}")]
    Json {
        /// From 1.
        byte: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is JSON, but not an array.
    #[error("the body is no array; send an array of events")]
    NoArray,
    /// It has more events than a body may have.
    #[error("the array has more than {ELEMENTS_MAX} events; send them in several requests")]
    TooMany,
}

/// The events of an `application/json` body: the elements of an array, or all of it as the one object; none of an empty body.
///
/// # Errors
/// Where an array is not JSON, or that it is too long. Other bodies are not checked here.
pub fn json(body: &[u8]) -> Result<Vec<&[u8]>, Broken> {
    match json::without_bom(body).trim_ascii() {
        [] => Ok(Vec::new()),
        [b'[', ..] => elements(body),
        // With what stands before it, so that a mistake's byte is counted in the body.
        _ => Ok(vec![body]),
    }
}

/// The elements of a JSON array, of whatever type, without the space around them.
///
/// # Errors
/// That it is no array, where it is not JSON, or that it is too long.
pub fn elements(body: &[u8]) -> Result<Vec<&[u8]>, Broken> {
    let text = json::without_bom(body);
    if !text.trim_ascii_start().starts_with(b"[") {
        return Err(Broken::NoArray);
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = reader.deserialize_seq(Elements).and_then(|elements| reader.end().map(|()| elements));
    match read {
        Ok(Some(elements)) => Ok(elements),
        Ok(None) => Err(Broken::TooMany),
        Err(error) => {
            let json::Mistake { byte, message } = json::Mistake::within(body, text, &error);
            Err(Broken::Json { byte, message })
        }
    }
}

/// Whether a body is one JSON text, and not several lines of NDJSON.
#[must_use]
pub fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(json::without_bom(body)).is_ok()
}

/// Collects the elements as they are written; `None` if there are too many.
struct Elements;

impl<'a> Visitor<'a> for Elements {
    type Value = Option<Vec<&'a [u8]>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < ELEMENTS_MAX {
            match seq.next_element::<&'a RawValue>()? {
                Some(element) => elements.push(element.get().as_bytes()),
                None => return Ok(Some(elements)),
            }
        }
        if seq.next_element::<IgnoredAny>()?.is_none() {
            return Ok(Some(elements));
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}
