//! CloudEvents 1.0: the attributes `id` and `time` are the event's, its data is the rest (contract section 9).
//!
//! Structured (and in a batch) a CloudEvent is a JSON object; in binary mode its attributes are HTTP headers and the body is
//! its data. Attributes that mean nothing here, extensions among them, are passed over.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bumpalo::Bump;
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::fields::{Field, Fields, Scalar, as_written};
use super::{Accepted, FieldError, Merchants, Reason, Refused, as_object, check, no_json};
use crate::json::quoted;

/// The one version that there is.
const VERSION: &str = "1.0";

/// Attributes of a CloudEvent in binary mode: the values of its headers, as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'h> {
    /// `ce-specversion`
    pub specversion: Option<&'h [u8]>,
    /// `ce-id`
    pub id: Option<&'h [u8]>,
    /// `ce-source`
    pub source: Option<&'h [u8]>,
    /// `ce-type`
    pub kind: Option<&'h [u8]>,
    /// `ce-time`
    pub time: Option<&'h [u8]>,
}

/// Whether a media type, without its parameters, is JSON: what an event's data must be.
#[must_use]
pub fn is_json(media: &str) -> bool {
    let ends_so = |end: &str| media.len() > end.len() && media[media.len() - end.len()..].eq_ignore_ascii_case(end);
    media.is_ascii()
        && (["application/json", "text/json"].iter().any(|json| media.eq_ignore_ascii_case(json)) || ends_so("+json"))
}

/// Reads a CloudEvent that is one JSON object.
///
/// # Errors
/// Everything that is wrong about its attributes and about the event.
pub fn read_structured<'a>(object: &'a [u8], merchants: &Merchants, arena: &'a Bump) -> Result<Accepted<'a>, Refused> {
    let text = as_object(object)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let envelope = reader.deserialize_map(Envelope::default()).and_then(|envelope| reader.end().map(|()| envelope));
    let envelope = envelope.map_err(|error| no_json(object, text, &error))?;
    let attribute = |attribute: Attribute| as_written(envelope.values[attribute as usize]?, arena);
    let mut cloud = Cloud { errors: Vec::new(), fields: Fields::default() };
    for (at, &name) in Attribute::NAMES.iter().enumerate() {
        if envelope.repeated & 1 << at != 0 {
            cloud.wrong(name, Reason::Repeated, "is given twice; send it once");
        }
    }
    cloud.attributes([Attribute::SpecVersion, Attribute::Source, Attribute::Type].map(attribute));
    match attribute(Attribute::DataContentType) {
        None => {}
        Some(Scalar::Text(media)) if is_json(media.split(';').next().unwrap_or("").trim()) => {}
        Some(Scalar::Text(media)) => {
            let what = format!("is {}; send application/json", quoted(media));
            cloud.wrong(Attribute::DataContentType.name(), Reason::Value, &what);
        }
        Some(other) => cloud.no_text(Attribute::DataContentType.name(), other),
    }
    cloud.data(&envelope, arena);
    cloud.finish([Attribute::Id, Attribute::Time].map(attribute), merchants, arena)
}

/// Reads a CloudEvent whose attributes came as headers, and its data as a body of JSON.
///
/// # Errors
/// As [`read_structured`].
pub fn read_binary<'a>(
    headers: &Headers<'_>,
    data: &'a [u8],
    merchants: &Merchants,
    arena: &'a Bump,
) -> Result<Accepted<'a>, Refused> {
    let text = as_object(data)?;
    let fields = super::fields::read(text, false, arena).map_err(|error| no_json(data, text, &error))?;
    let mut cloud = Cloud { errors: Vec::new(), fields };
    let decoded =
        |value: Option<&[u8]>| value.map(|value| header_text(value, arena).map_or(Scalar::NoText, Scalar::Text));
    cloud.attributes([headers.specversion, headers.source, headers.kind].map(decoded));
    let own = [headers.id, headers.time].map(decoded);
    for (name, value) in [Attribute::Id.name(), Attribute::Time.name()].into_iter().zip(own) {
        if matches!(value, Some(Scalar::NoText)) {
            cloud.wrong(name, Reason::Utf8, "is no UTF-8 text; send it percent-encoded, as %C3%A9");
            return Err(Refused { id: None, errors: cloud.errors });
        }
    }
    cloud.finish(own, merchants, arena)
}

/// A header's value as a text: without its quotes, `%XX` undone (HTTP binding, section 3.1.3.2). `None`: it is not UTF-8.
fn header_text<'a>(value: &[u8], arena: &'a Bump) -> Option<&'a str> {
    let value = value.trim_ascii();
    let mut unquoted = bumpalo::collections::Vec::with_capacity_in(value.len(), arena);
    match value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) {
        None => unquoted.extend_from_slice(value),
        Some(mut rest) => {
            while let Some((&byte, after)) = rest.split_first() {
                let (byte, after) = match (byte, after.split_first()) {
                    (b'\\', Some((&escaped, after))) => (escaped, after),
                    _ => (byte, after),
                };
                unquoted.push(byte);
                rest = after;
            }
        }
    }
    let decoded = percent_encoding::percent_decode(unquoted.into_bump_slice()).decode_utf8().ok()?;
    Some(arena.alloc_str(&decoded))
}

macro_rules! attributes {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// What of a CloudEvent is looked at.
        #[derive(Clone, Copy)]
        enum Attribute { $($variant),+ }

        impl Attribute {
            const NAMES: &'static [&'static str] = &[$($name),+];

            const fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }

            fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
attributes! {
    SpecVersion = "specversion",
    Id = "id",
    Source = "source",
    Type = "type",
    Time = "time",
    DataContentType = "datacontenttype",
    Data = "data",
    DataBase64 = "data_base64",
}

/// The attributes and the data of a CloudEvent, as they are written; null is as if left out.
#[derive(Default)]
struct Envelope<'a> {
    values: [Option<&'a RawValue>; Attribute::NAMES.len()],
    /// A bit for each that was given twice.
    repeated: u32,
}

impl<'a> Visitor<'a> for Envelope<'a> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(name) = map.next_key_seed(super::fields::Name(Attribute::parse))? {
            let Some(attribute) = name else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let Some(value) = map.next_value::<Option<&'a RawValue>>()? else { continue };
            match &mut self.values[attribute as usize] {
                Some(_) => self.repeated |= 1 << attribute as usize,
                place => *place = Some(value),
            }
        }
        Ok(self)
    }
}

/// A CloudEvent that is being checked.
struct Cloud<'a> {
    errors: Vec<FieldError>,
    /// Of its data.
    fields: Fields<'a>,
}

impl<'a> Cloud<'a> {
    /// Version, source and type, which every CloudEvent must have.
    fn attributes(&mut self, [version, source, kind]: [Option<Scalar<'a>>; 3]) {
        let name = Attribute::SpecVersion.name();
        match version {
            Some(Scalar::Text(VERSION)) => {}
            Some(Scalar::Text(other)) => {
                self.wrong(name, Reason::Value, &format!("is {}; send \"{VERSION}\"", quoted(other)));
            }
            Some(other) => self.no_text(name, other),
            None => self.wrong(name, Reason::Missing, &format!("is missing; send \"{VERSION}\"")),
        }
        for (name, value) in [(Attribute::Source.name(), source), (Attribute::Type.name(), kind)] {
            match value {
                Some(Scalar::Text("")) => self.wrong(name, Reason::Length, "is empty; every CloudEvent needs one"),
                Some(Scalar::Text(_)) => {}
                Some(other) => self.no_text(name, other),
                None => self.wrong(name, Reason::Missing, "is missing; every CloudEvent needs one"),
            }
        }
    }

    /// The data of a structured one: a JSON object, or one in base64, as bytes are sent.
    fn data(&mut self, envelope: &Envelope<'a>, arena: &'a Bump) {
        const MEND: &str = "send the event's other fields as a JSON object";
        let given = |attribute: Attribute| envelope.values[attribute as usize];
        let name = Attribute::Data.name();
        let text = match (given(Attribute::Data), given(Attribute::DataBase64)) {
            (Some(_), Some(_)) => {
                return self.wrong(name, Reason::Repeated, "is given twice, as data and as data_base64; send one");
            }
            (Some(data), None) => data.get(),
            (None, Some(coded)) => match decoded(as_written(coded, arena), arena) {
                Some(text) => text,
                None => {
                    let what = "is not JSON in base64; send data as a JSON object";
                    return self.wrong(Attribute::DataBase64.name(), Reason::Value, what);
                }
            },
            (None, None) => return self.wrong(name, Reason::Missing, &format!("is missing; {MEND}")),
        };
        let is_object = text.trim_ascii_start().starts_with('{');
        match is_object.then(|| super::fields::read(text, false, arena)) {
            Some(Ok(fields)) => self.fields = fields,
            Some(Err(error)) => {
                let byte = crate::json::Mistake::new(text.as_bytes(), &error).byte;
                self.wrong(name, Reason::Json, &format!("is not JSON at its byte {byte}; {MEND}"));
            }
            None => self.wrong(name, Reason::Type, &format!("is no object; {MEND}")),
        }
    }

    /// The event, under its attributes' id and time.
    fn finish(
        mut self,
        [id, time]: [Option<Scalar<'a>>; 2],
        merchants: &Merchants,
        arena: &'a Bump,
    ) -> Result<Accepted<'a>, Refused> {
        self.fields.replace(Field::Id, id);
        if time.is_some() {
            self.fields.replace(Field::Time, time);
        }
        let has_no_data = self
            .errors
            .iter()
            .any(|e| e.field.starts_with(Attribute::Data.name()) && e.field != Attribute::DataContentType.name());
        if has_no_data {
            return Err(Refused { id: check::id(&self.fields), errors: self.errors });
        }
        match check::event(&self.fields, merchants, arena) {
            Ok(accepted) if self.errors.is_empty() => Ok(accepted),
            Ok(accepted) => Err(Refused { id: Some(accepted.event.id.to_owned()), errors: self.errors }),
            Err(Refused { id, errors }) => {
                self.errors.extend(errors);
                Err(Refused { id, errors: self.errors })
            }
        }
    }

    fn no_text(&mut self, name: &str, value: Scalar<'_>) {
        let (reason, what) = match value {
            Scalar::NoText => (Reason::Utf8, "is no UTF-8 text; send one".to_owned()),
            other => (Reason::Type, format!("is {}; send a text, in quotes", check::shown(other))),
        };
        self.wrong(name, reason, &what);
    }

    fn wrong(&mut self, name: &str, reason: Reason, what: &str) {
        self.errors.push(FieldError { field: name.to_owned(), error: format!("{name}: {what}"), reason });
    }
}

/// Base64 as a text of JSON.
fn decoded<'a>(coded: Option<Scalar<'a>>, arena: &'a Bump) -> Option<&'a str> {
    let Some(Scalar::Text(coded)) = coded else { return None };
    let bytes = arena.alloc_slice_fill_default(base64::decoded_len_estimate(coded.len()));
    let length = STANDARD.decode_slice(coded, bytes).ok()?;
    std::str::from_utf8(crate::json::without_bom(&bytes[..length])).ok()
}
