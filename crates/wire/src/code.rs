//! What the text of a code says if it is a URL (contract section 3, "Resolving `code`"; GS1 Digital Link URI syntax).

use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;
use domain::model::code::{Link, checked_digits};
use percent_encoding::percent_decode_str;

/// Reads a URL; `None` if the text has no `://` and so is none.
///
/// The first right primary key of GS1 in the path counts, else the query parameter `c`, else the last path segment
/// that is not empty. A URL with none of them is its own text. Texts that were percent-encoded live in the arena.
#[must_use]
pub fn parse_link<'a>(text: &'a str, arena: &'a Bump) -> Option<Link<'a>> {
    let (_, after_scheme) = text.split_once("://")?;
    let (before_fragment, _) = after_scheme.split_once('#').unwrap_or((after_scheme, ""));
    let (authority_and_path, query) = before_fragment.split_once('?').unwrap_or((before_fragment, ""));
    let path = authority_and_path.split_once('/').map_or("", |(_, path)| path);
    let link = digital_link(path, arena)
        .or_else(|| parameter_c(query, arena).map(Link::Text))
        .or_else(|| last_segment(path, arena).map(Link::Text));
    Some(link.unwrap_or(Link::Text(text)))
}

/// The first primary key whose value has the right length and check digit, with its qualifiers.
fn digital_link<'a>(path: &'a str, arena: &'a Bump) -> Option<Link<'a>> {
    let mut segments = path.split('/');
    while let Some(segment) = segments.next() {
        let Some(length) = key_length(segment) else { continue };
        let mut after = segments.clone();
        let Some(number) = after.next().and_then(|value| digits(value, length, arena)) else { continue };
        return Some(match length {
            14 => Link::Gtin(number, serial(after, arena)),
            13 => Link::Gln(number),
            _ => Link::Gsrn(number),
        });
    }
    None
}

/// How many digits the value of a primary key has: AI 01 (GTIN), 414 (GLN), 8017 (GSRN).
fn key_length(segment: &str) -> Option<usize> {
    let is = |ai: &str| percent_decode_str(segment).eq(ai.bytes());
    if is("01") {
        Some(14)
    } else if is("414") {
        Some(13)
    } else if is("8017") {
        Some(18)
    } else {
        None
    }
}

fn digits(value: &str, length: usize, arena: &Bump) -> Option<u64> {
    let value = decoded(value, arena);
    if value.len() == length { checked_digits(value) } else { None }
}

/// The value of the first AI 21 among (AI, value) pairs; an empty one is none.
fn serial<'a>(mut qualifiers: std::str::Split<'a, char>, arena: &'a Bump) -> Option<&'a str> {
    while let (Some(ai), Some(value)) = (qualifiers.next(), qualifiers.next()) {
        if percent_decode_str(ai).eq(*b"21") {
            return (!value.is_empty()).then(|| decoded(value, arena));
        }
    }
    None
}

fn parameter_c<'a>(query: &'a str, arena: &'a Bump) -> Option<&'a str> {
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut of_c = values.filter(|(name, value)| percent_decode_str(name).eq(*b"c") && !value.is_empty());
    of_c.next().map(|(_, value)| decoded(value, arena))
}

fn last_segment<'a>(path: &'a str, arena: &'a Bump) -> Option<&'a str> {
    path.rsplit('/').find(|segment| !segment.is_empty()).map(|segment| decoded(segment, arena))
}

/// Percent-decodes a text; one whose bytes are no UTF-8 or hold control characters stays as it is.
fn decoded<'a>(text: &'a str, arena: &'a Bump) -> &'a str {
    if !text.contains('%') {
        return text;
    }
    let bytes = BumpVec::from_iter_in(percent_decode_str(text), arena).into_bump_slice();
    match std::str::from_utf8(bytes) {
        Ok(plain) if !plain.chars().any(char::is_control) => plain,
        _ => text,
    }
}
