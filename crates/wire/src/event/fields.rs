//! The known fields of a JSON object, as they are written; nothing is checked but that it is JSON.

use std::fmt;

use bumpalo::Bump;
use domain::model::event::Action;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::KeylessScan;

/// A value of a known field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scalar<'a> {
    Text(&'a str),
    Integer(i64),
    /// A number that is no integer, or a huge one, as it is written.
    Number(&'a str),
    Bool(bool),
    List,
    Object,
    /// A text with an escape that is no character.
    NoText,
}

/// What the fields of an object hold.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    values: [Option<Scalar<'a>>; Field::COUNT],
    /// A bit for each field that was given twice.
    repeated: u32,
    pub(super) unknown: u32,
}

impl<'a> Fields<'a> {
    /// The value of a field, the first if it was given twice; null is as if left out.
    pub(super) fn get(&self, field: Field) -> Option<Scalar<'a>> {
        self.values[field as usize]
    }

    /// Whether any field was given twice.
    pub(super) fn are_repeated(&self) -> bool {
        self.repeated != 0
    }

    pub(super) fn is_repeated(&self, field: Field) -> bool {
        self.repeated & (1 << field as usize) != 0
    }

    /// Those of a scan that a browser made.
    pub(super) fn of_keyless_scan(scan: KeylessScan<'a>) -> Self {
        let mut fields = Self::default();
        for (field, value) in [
            (Field::Id, scan.id),
            (Field::Action, Action::Scan.as_str()),
            (Field::Shopper, scan.shopper),
            (Field::Merchant, scan.merchant),
            (Field::Code, scan.code),
        ] {
            fields.put(field, Some(Scalar::Text(value)));
        }
        fields.put(Field::Region, scan.region.map(Scalar::Text));
        fields.put(Field::Keyless, Some(Scalar::Bool(true)));
        fields
    }

    /// Replaces a field's value; the value that was there counts as an unknown field.
    pub(super) fn replace(&mut self, field: Field, value: Option<Scalar<'a>>) {
        self.unknown += u32::from(self.values[field as usize].is_some());
        self.values[field as usize] = value;
        self.repeated &= !(1 << field as usize);
    }

    fn put(&mut self, field: Field, value: Option<Scalar<'a>>) {
        let Some(value) = value else { return };
        match &mut self.values[field as usize] {
            Some(_) => self.repeated |= 1 << field as usize,
            place => *place = Some(value),
        }
    }
}

macro_rules! fields {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// The known fields, in the order of the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Field { $($variant),+ }

        impl Field {
            pub(super) const ALL: &'static [Self] = &[$(Self::$variant),+];
            const COUNT: usize = Self::ALL.len();

            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
fields! {
    Id = "id",
    Action = "action",
    Shopper = "shopper",
    Merchant = "merchant",
    Time = "time",
    Code = "code",
    Store = "store",
    Guide = "guide",
    Region = "region",
    Channel = "channel",
    Device = "device",
    Order = "order",
    Amount = "amount",
    Currency = "currency",
    Part = "part",
    Ticket = "ticket",
    Received = "received",
    Partition = "partition",
    Offset = "offset",
    Keyless = "keyless",
}
const _: () = assert!(Field::COUNT <= u32::BITS as usize, "a bit for each field");

impl Field {
    /// Only lines of a log dump have these.
    fn is_of_dumps(self) -> bool {
        matches!(self, Self::Received | Self::Partition | Self::Offset | Self::Keyless)
    }
}

/// Reads the known fields of an object.
///
/// Numbers are read the quick way first. An object that this way refuses is read once more, with numbers as they are
/// written, so that `1e999` is a wrong amount and not wrong JSON.
pub(super) fn read<'a>(text: &'a str, dump_lines: bool, arena: &'a Bump) -> Result<Fields<'a>, serde_json::Error> {
    let pass = |numbers| {
        let mut reader = serde_json::Deserializer::from_str(text);
        let fields = reader.deserialize_map(Object { dump_lines, value: Value { numbers, arena } })?;
        reader.end().map(|()| fields)
    };
    pass(Numbers::Quick).or_else(|_| pass(Numbers::AsWritten))
}

#[derive(Clone, Copy)]
enum Numbers {
    /// Refuses what is no `i64`.
    Quick,
    AsWritten,
}

struct Object<'a> {
    dump_lines: bool,
    value: Value<'a>,
}

impl<'a> Visitor<'a> for Object<'a> {
    type Value = Fields<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Fields<'a>, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key_seed(Name(Field::parse))? {
            match name.filter(|field| self.dump_lines || !field.is_of_dumps()) {
                Some(field) => fields.put(field, map.next_value_seed(self.value)?),
                // Whatever its nesting: the library skips values without recursion.
                None if map.next_value::<Option<IgnoredAny>>()?.is_some() => fields.unknown += 1,
                None => {}
            }
        }
        Ok(fields)
    }
}

/// Reads a name without copying it: what it stands for.
pub(super) struct Name<T>(pub(super) fn(&str) -> Option<T>);

impl<'a, T> DeserializeSeed<'a> for Name<T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'a>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl<T> Visitor<'_> for Name<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok((self.0)(name))
    }
}

/// Reads a value of whatever type; null is none.
#[derive(Clone, Copy)]
struct Value<'a> {
    numbers: Numbers,
    arena: &'a Bump,
}

impl<'a> DeserializeSeed<'a> for Value<'a> {
    type Value = Option<Scalar<'a>>;

    fn deserialize<D: Deserializer<'a>>(self, value: D) -> Result<Self::Value, D::Error> {
        match self.numbers {
            Numbers::Quick => value.deserialize_any(self),
            Numbers::AsWritten => Ok(as_written(serde::Deserialize::deserialize(value)?, self.arena)),
        }
    }
}

impl<'a> Visitor<'a> for Value<'a> {
    type Value = Option<Scalar<'a>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that is read the quick way")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Integer(value)))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        i64::try_from(value).map(|value| Some(Scalar::Integer(value))).map_err(E::custom)
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Text(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Some(Scalar::Text(self.arena.alloc_str(text))))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Some(Scalar::List))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Some(Scalar::Object))
    }
}

/// What a value, written so, is.
pub(super) fn as_written<'a>(raw: &'a RawValue, arena: &'a Bump) -> Option<Scalar<'a>> {
    let raw = raw.get();
    let value = match raw.as_bytes().first() {
        Some(b'"') => {
            match serde_json::Deserializer::from_str(raw).deserialize_str(Value { numbers: Numbers::Quick, arena }) {
                Ok(text) => return text,
                Err(_) => Scalar::NoText,
            }
        }
        Some(b'[') => Scalar::List,
        Some(b'{') => Scalar::Object,
        Some(b't') => Scalar::Bool(true),
        Some(b'f') => Scalar::Bool(false),
        Some(b'n') => return None,
        _ => raw.parse().map_or(Scalar::Number(raw), Scalar::Integer),
    };
    Some(value)
}
