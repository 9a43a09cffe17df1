//! GS1 element strings, as scanners send them and as labels show them (GS1 General Specifications, sections 4.14 and 7.8).

use domain::model::code::Link;

use super::application_identifiers::split_off;
use super::primary_key::{PrimaryKey, is_serial};

/// What stands for FNC1 in the text of a symbol: it ends a value of variable length.
const GS: char = '\u{1D}';

/// Reads an element string as the Digital Link of its keys; none if it is none, or has no primary key that is right.
///
/// It is bracketed, or has separators, or else begins with its primary key; and all of it is AIs with their values.
pub(super) fn parse<'a>(text: &'a str) -> Option<Link<'a>> {
    let keys = match text.bytes().next()? {
        b'(' => bracketed(text)?,
        b'0'..=b'9' | 0x1D => plain(text)?,
        _ => return None,
    };
    keys.primary.map(|primary| primary.link(keys.serial))
}

/// The first right primary key and the first serial.
#[derive(Default)]
struct Keys<'a> {
    primary: Option<PrimaryKey<'a>>,
    serial: Option<&'a str>,
}

impl<'a> Keys<'a> {
    fn add(&mut self, ai: &str, value: &'a str) {
        self.primary = self.primary.or_else(|| PrimaryKey::of(ai, value));
        if is_serial(ai) && !value.is_empty() {
            self.serial = self.serial.or(Some(value));
        }
    }
}

/// `(01)06901234567892(21)AB12`: a value ends where the next bracketed AI begins.
fn bracketed(text: &str) -> Option<Keys<'_>> {
    let mut keys = Keys::default();
    let mut rest = text;
    while !rest.is_empty() {
        let (ai, after) = bracket(rest)?;
        let mut brackets = after.match_indices('(').map(|(at, _)| at);
        let end = brackets.find(|&at| bracket(&after[at..]).is_some()).unwrap_or(after.len());
        keys.add(ai, after[..end].trim_matches([' ', GS]));
        rest = &after[end..];
    }
    Some(keys)
}

/// An AI in brackets, and what comes after it.
fn bracket(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('(')?;
    let digits = inner.bytes().take(5).take_while(u8::is_ascii_digit).count();
    let (ai, after) = inner.split_at(digits);
    if matches!(digits, 2..=4) { Some((ai, after.strip_prefix(')')?)) } else { None }
}

/// AIs and values without brackets: a value of variable length ends at a separator or at the end.
fn plain(text: &str) -> Option<Keys<'_>> {
    let has_separators = text.contains(GS);
    let mut keys = Keys::default();
    let mut rest = text.trim_start_matches(GS);
    while !rest.is_empty() {
        let (ai, format, after) = split_off(rest)?;
        let until_separator = after.find(GS).unwrap_or(after.len());
        let length = if format.bytes_min == format.bytes_max { format.bytes_max } else { until_separator };
        let value = after.get(..length)?;
        if length > format.bytes_max || !format.allows(value) {
            return None;
        }
        keys.add(ai, value);
        if !has_separators && keys.primary.is_none() {
            return None;
        }
        rest = after[length..].trim_start_matches(GS);
    }
    Some(keys)
}
