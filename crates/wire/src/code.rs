//! What the text of a code says (contract section 3, "Resolving `code`"): what scanners add is taken off, and GS1 element
//! strings and URLs (GS1 Digital Link URI syntax) are read.

mod application_identifiers;
mod element_string;
mod primary_key;

use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;
use domain::model::code::Link;
use percent_encoding::percent_decode_str;

use self::primary_key::{PrimaryKey, is_serial};

/// Characters that scanners add at both ends.
const ADDED_AT_ENDS: [char; 3] = [' ', '\r', '\n'];
/// AIM symbology identifiers that scanners add in front (ISO/IEC 15424): GS1-128, GS1 DataMatrix, GS1 QR, GS1 DataBar, and
/// EAN/UPC under the two ways of writing it.
const AIM_IDENTIFIERS: [&str; 5] = ["]C1", "]d2", "]Q3", "]e0", "]E0"];

/// Reads what a code's text says; `None` if it is a plain text that stands for itself.
///
/// Blanks, line ends and an AIM identifier go first. An element string is read as the Digital Link of its keys. Of a URL the
/// first right primary key of GS1 in the path counts, else the query parameter `c`, else the last path segment that is not
/// empty; a URL with none of them is its own text. Texts that were percent-encoded live in the arena.
///
/// ```
/// use bumpalo::Bump;
/// use domain::model::code::Link;
/// use wire::code::parse_link;
///
/// let arena = Bump::new();
/// let read = |text| parse_link(text, &arena);
/// let item = Some(Link::Gtin(6_901_234_567_892, Some("AB12")));
///
/// // A Digital Link, wherever it begins in the path, with AIs or their names.
/// assert_eq!(read("https://m.example/shop/01/06901234567892/10/LOT/21/AB12?utm=x"), item);
/// assert_eq!(read("https://m.example//gtin/6901234567892/ser/AB12/"), item);
/// assert_eq!(read("https://m.example/414/6901234000016"), Some(Link::Gln(6_901_234_000_016)));
///
/// // The same keys as an element string: with brackets, with separators, or with the primary key first.
/// assert_eq!(read("(01)06901234567892(10)LOT(21)AB12"), item);
/// assert_eq!(read("]d2010690123456789210LOT\u{1D}21AB12\r\n"), item);
/// assert_eq!(read("010690123456789221AB12"), item);
///
/// // No key, or a wrong check digit: the parameter `c`, else the last path segment.
/// assert_eq!(read("https://m.example/x?c=G1"), Some(Link::Text("G1")));
/// assert_eq!(read("https://m.example/01/06901234567893"), Some(Link::Text("06901234567893")));
///
/// // A plain text stands for itself, without what scanners add.
/// assert_eq!(read("G1"), None);
/// assert_eq!(read("]E06901234567892\r"), Some(Link::Text("6901234567892")));
/// ```
#[must_use]
pub fn parse_link<'a>(text: &'a str, arena: &'a Bump) -> Option<Link<'a>> {
    let bare = without_additions(text);
    let link = element_string::parse(bare).or_else(|| url(bare, arena));
    // A text that consists only of these additions is left unchanged.
    link.or_else(|| (!bare.is_empty() && bare.len() < text.len()).then_some(Link::Text(bare)))
}

/// A text without what scanners add.
fn without_additions(text: &str) -> &str {
    let text = text.trim_matches(ADDED_AT_ENDS);
    if !text.starts_with(']') {
        return text;
    }
    let after_identifier = AIM_IDENTIFIERS.iter().find_map(|identifier| text.strip_prefix(identifier));
    after_identifier.map_or(text, |text| text.trim_start_matches(ADDED_AT_ENDS))
}

/// Reads a URL; none if the text has no `://`.
fn url<'a>(text: &'a str, arena: &'a Bump) -> Option<Link<'a>> {
    let colon = text.bytes().position(|b| b == b':')?;
    let (_, after_scheme) = text[colon..].split_once("://")?;
    let (before_fragment, _) = after_scheme.split_once('#').unwrap_or((after_scheme, ""));
    let (authority_and_path, query) = before_fragment.split_once('?').unwrap_or((before_fragment, ""));
    let path = authority_and_path.split_once('/').map_or("", |(_, path)| path);
    let link = digital_link(path, arena)
        .or_else(|| parameter_c(query, arena).map(Link::Text))
        .or_else(|| last_segment(path, arena).map(Link::Text));
    Some(link.unwrap_or(Link::Text(text)))
}

/// The first primary key whose value has a right length and check digit, with the first serial among the pairs of AI and value
/// after it. Slashes that follow each other are one.
fn digital_link<'a>(path: &'a str, arena: &'a Bump) -> Option<Link<'a>> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).map(|segment| decoded(segment, arena));
    let mut ai = segments.next()?;
    while let Some(value) = segments.next() {
        if let Some(key) = PrimaryKey::of(ai, value) {
            return Some(key.link(serial(segments)));
        }
        ai = value;
    }
    None
}

/// The value of the first serial among pairs of GS1 application identifier (AI) and value.
fn serial<'a>(mut qualifiers: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    while let (Some(ai), Some(value)) = (qualifiers.next(), qualifiers.next()) {
        if is_serial(ai) {
            return Some(value);
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
