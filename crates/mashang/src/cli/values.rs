//! The forms of single values.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use domain::model::time::{Millis, in_range, parse_rfc3339};

/// A value that is known by one of these names.
pub(crate) fn named<T: Copy + Send + Sync + 'static>(
    all: &'static [T],
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let names = PossibleValuesParser::new(all.iter().map(|&value| name(value)));
    names.map(move |given| {
        *all.iter().find(|&&value| name(value) == given).expect("the parser lets no other name through")
    })
}

/// A time: RFC 3339, or milliseconds since the epoch.
pub(crate) fn moment(text: &str) -> Result<Millis, String> {
    text.parse::<Millis>().map_or_else(|_| parse_rfc3339(text), in_range).map_err(ToOwned::to_owned)
}
