//! One JSON object becomes an event, or every reason why not (contract section 1).

mod check;
pub mod cloud;
mod fields;
pub mod place;

use std::collections::BTreeMap;

use bumpalo::Bump;
use domain::model::event::Event;
use domain::model::time::Millis;

use crate::json;

/// Maximum length of the text of a code, in bytes; a longer text is a mistake.
pub const CODE_BYTES_MAX: usize = 512;

/// The merchants that an event may name, with their currencies, and how its object is to be read.
#[derive(Clone, Debug, Default)]
pub struct Merchants {
    currencies: BTreeMap<String, String>,
    dump_lines: bool,
}

impl Merchants {
    /// From names and ISO 4217 codes. If it is exactly one, events may leave it out.
    pub fn new<N: ToString, C: ToString>(pairs: impl IntoIterator<Item = (N, C)>) -> Self {
        let currencies = pairs.into_iter().map(|(name, currency)| (name.to_string(), currency.to_string())).collect();
        Self { currencies, dump_lines: false }
    }

    /// Reads lines of `mashang log dump` too: `received`, `partition`, `offset` and `keyless` become known fields.
    #[must_use]
    pub fn with_dump_lines(self) -> Self {
        Self { dump_lines: true, ..self }
    }
}

/// An event that passed every check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted<'a> {
    /// Its stamp is 0: the edge sets it.
    pub event: Event<'a>,
    /// When a line of a log dump was received, by itself.
    pub received: Option<Millis>,
    /// Number of its fields that are unknown.
    pub unknown_fields: u32,
}

/// An object that is no event, with everything that is wrong about it, never nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its `id`, if that at least is right.
    pub id: Option<String>,
    /// In the order of the checks; at least one.
    pub errors: Vec<FieldError>,
}

impl Refused {
    /// The reason under which it is counted: that of its first error.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.errors.first().map_or(Reason::Json, |error| error.reason)
    }

    fn whole(error: String, reason: Reason) -> Self {
        Self { id: None, errors: vec![FieldError { field: String::new(), error, reason }] }
    }
}

/// One thing that is wrong about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name; empty if it is about the whole object.
    pub field: String,
    /// What is wrong and the fix, with the field's name in front.
    pub error: String,
    /// Its kind.
    pub reason: Reason,
}

/// The kinds of errors: few, so that metrics may be labelled with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A compressed body that is broken.
    Encoding,
    /// Not JSON.
    Json,
    /// Not UTF-8, or an escape that is no character.
    Utf8,
    /// JSON, but no object.
    Object,
    /// A line that is too long to be looked at.
    Size,
    /// A field that the action needs.
    Missing,
    /// A value of another type.
    Type,
    /// A text that is empty or too long.
    Length,
    /// A control character.
    Control,
    /// A number that is too small or too large.
    Range,
    /// None of the words, or no time.
    Value,
    /// A merchant that is not known, or none where there are several.
    Merchant,
    /// Another currency than the merchant's.
    Currency,
    /// A field given twice.
    Repeated,
}

impl Reason {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Encoding,
        Self::Json,
        Self::Utf8,
        Self::Object,
        Self::Size,
        Self::Missing,
        Self::Type,
        Self::Length,
        Self::Control,
        Self::Range,
        Self::Value,
        Self::Merchant,
        Self::Currency,
        Self::Repeated,
    ];

    /// The label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Encoding => "encoding",
            Self::Json => "json",
            Self::Utf8 => "utf8",
            Self::Object => "object",
            Self::Size => "size",
            Self::Missing => "missing",
            Self::Type => "type",
            Self::Length => "length",
            Self::Control => "control",
            Self::Range => "range",
            Self::Value => "value",
            Self::Merchant => "merchant",
            Self::Currency => "currency",
            Self::Repeated => "repeated",
        }
    }
}

/// Reads one JSON object. Texts borrow from it, or from the arena where JSON escapes had to be undone.
///
/// ```
/// use bumpalo::Bump;
/// use domain::model::event::Action;
/// use wire::event::{Merchants, read};
///
/// let (merchants, arena) = (Merchants::new([("acme", "CNY")]), Bump::new());
///
/// let order = br#"{"id":"7f3a","action":"order","shopper":"u1","order":"o-9","amount":25900,"time":1794326403120}"#;
/// let accepted = read(order, &merchants, &arena).expect("an event");
/// assert_eq!((accepted.event.action, accepted.event.merchant), (Action::Order, "acme"));
/// assert_eq!(accepted.event.order.map(|order| order.amount), Some(25900));
///
/// // Every mistake is reported at once.
/// let wrong = br#"{"id":"7f3b","action":"order","shopper":"u1","order":"o-9","time":1794326403}"#;
/// let refused = read(wrong, &merchants, &arena).expect_err("no event");
/// let errors: Vec<&str> = refused.errors.iter().map(|error| error.error.as_str()).collect();
/// assert!(errors[0].starts_with("time: is 1794326403; seconds? milliseconds are wanted"));
/// assert_eq!(errors[1], "amount: is missing; the action order needs one");
/// ```
///
/// # Errors
/// Everything that is wrong about the event; a mistake of JSON alone, with its byte counted from 1.
pub fn read<'a>(object: &'a [u8], merchants: &Merchants, arena: &'a Bump) -> Result<Accepted<'a>, Refused> {
    let text = as_object(object)?;
    let fields = fields::read(text, merchants.dump_lines, arena).map_err(|error| no_json(object, text, &error))?;
    check::event(&fields, merchants, arena)
}

/// A scan that a browser made by opening a code's link.
#[derive(Clone, Copy, Debug)]
pub struct KeylessScan<'a> {
    /// The merchant of the code.
    pub merchant: &'a str,
    /// The shopper, `web:` and the id of a cookie.
    pub shopper: &'a str,
    /// A random id.
    pub id: &'a str,
    /// The link that was opened.
    pub code: &'a str,
    /// The region that the edge knows, if it knows one.
    pub region: Option<&'a str>,
}

/// Makes the event of a scan that came without a key.
///
/// # Errors
/// As [`read`], but never of JSON.
pub fn keyless_scan<'a>(
    scan: KeylessScan<'a>,
    merchants: &Merchants,
    arena: &'a Bump,
) -> Result<Accepted<'a>, Refused> {
    check::event(&fields::Fields::of_keyless_scan(scan), merchants, arena)
}

/// A text that begins as an object does, without the byte order mark before it.
fn as_object(object: &[u8]) -> Result<&str, Refused> {
    let text = std::str::from_utf8(json::without_bom(object)).map_err(|error| {
        let byte = object.len() - json::without_bom(object).len() + error.valid_up_to() + 1;
        Refused::whole(format!("the event is not UTF-8 at byte {byte}"), Reason::Utf8)
    })?;
    if text.trim_ascii_start().is_empty() {
        return Err(Refused::whole("the event is empty; send a JSON object".to_owned(), Reason::Json));
    }
    if text.trim_ascii_start().starts_with('{') { Ok(text) } else { Err(no_object(object, text)) }
}

fn no_object(object: &[u8], text: &str) -> Refused {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        return no_json(object, text, &error);
    }
    let kind = match text.trim_ascii_start().as_bytes().first() {
        Some(b'[') => "a list",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    };
    Refused::whole(format!("the event is {kind}; send a JSON object"), Reason::Object)
}

/// What is wrong with the text of an object; its bytes are counted in the object as it came.
fn no_json(object: &[u8], text: &str, error: &serde_json::Error) -> Refused {
    let json::Mistake { byte, message } = json::Mistake::within(object, text.as_bytes(), error);
    Refused::whole(format!("the event is not JSON: {message} at byte {byte}"), Reason::Json)
}
