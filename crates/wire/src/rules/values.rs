//! Single values of TOML become values of the rules; errors are phrases that follow the key.

use domain::model::code::{self, checked_digits};
use domain::model::money::{AMOUNT_MAX, Ratio};
use domain::model::time::{DAY_MS, HOUR_MS, MINUTE_MS, Millis, SECOND_MS, Zone, parse_rfc3339};
use domain::model::token::TOKEN_CHARS;
use toml::de::DeValue;

use crate::hex::hex32;
use crate::json::quoted;

/// Maximum length of ids and most other texts, in bytes; a longer text is a mistake.
pub(super) const TEXT_BYTES_MAX: usize = 64;
/// Maximum length of the id of a code, in bytes, the same as in events; a longer id is a mistake.
pub(super) const CODE_BYTES_MAX: usize = 512;
/// Maximum length of names for people, in bytes; a longer name is a mistake.
pub(super) const NAME_BYTES_MAX: usize = 256;
/// Maximum length of paths and URLs, in bytes; a longer one is a mistake.
pub(super) const PATH_BYTES_MAX: usize = 2048;
/// Maximum length of a text of the public notice, in bytes; a longer one is a mistake.
pub(super) const NOTICE_BYTES_MAX: usize = 2048;
/// Maximum length of what minted URLs begin with, in bytes: with a token it is as long as a code may be. A longer one is a
/// mistake.
const URL_PREFIX_BYTES_MAX: usize = CODE_BYTES_MAX - TOKEN_CHARS;
/// Maximum duration, in milliseconds: 36,500 days; a longer one is a mistake.
const DURATION_MAX_MS: i64 = 36_500 * DAY_MS;

type Read<T> = Result<T, String>;

/// A value's type, for messages.
pub(super) fn shown(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn text_of<'v>(value: &'v DeValue<'_>, example: &str) -> Read<&'v str> {
    value.as_str().ok_or_else(|| format!("is {}; write a text, in quotes{example}", shown(value)))
}

/// A text of at least 1 and at most the given number of bytes, without control characters.
pub(super) fn text(bytes_max: usize) -> impl Fn(&DeValue<'_>) -> Read<String> {
    move |value| {
        let text = text_of(value, "")?;
        if text.is_empty() {
            return Err(format!("is empty; write 1 to {bytes_max} bytes"));
        }
        if text.len() > bytes_max {
            return Err(format!("has {} bytes; write 1 to {bytes_max}", text.len()));
        }
        match text.chars().find(|c| c.is_control()) {
            Some(c) => Err(format!("has the control character U+{:04X}; write text without them", u32::from(c))),
            None => Ok(text.to_owned()),
        }
    }
}

/// An id, or another text of 1 to 64 bytes that is compared as it stands.
pub(super) fn id(value: &DeValue<'_>) -> Read<String> {
    plain_text(TEXT_BYTES_MAX)(value)
}

/// A text of at least 1 and at most the given number of bytes that is compared as it stands: no invisible characters at
/// its ends.
pub(super) fn plain_text(bytes_max: usize) -> impl Fn(&DeValue<'_>) -> Read<String> {
    move |value| {
        let text = text(bytes_max)(value)?;
        for (end, char) in [("begins", text.chars().next()), ("ends", text.chars().next_back())] {
            if let Some(char) = char.filter(|&char| is_unseen(char)) {
                let (shown, number) = (quoted(&text), u32::from(char));
                let what = if char.is_whitespace() { "the blank" } else { "the invisible character" };
                return Err(format!("is {shown}, which {end} with {what} U+{number:04X}; write it without"));
            }
        }
        Ok(text)
    }
}

/// Blanks and characters without width: Unicode's White_Space, and of its Default_Ignorable_Code_Point those that do not
/// belong to the character before them (variation selectors and tags do: emoji end with them).
fn is_unseen(char: char) -> bool {
    char.is_whitespace()
        || matches!(char,
            '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180E}'
            | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
            | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFF8}' | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}')
}

/// One of a closed set of words.
pub(super) fn word<T: Copy>(all: &[T], as_str: fn(T) -> &'static str) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| {
        let words = || all.iter().map(|&word| format!("{:?}", as_str(word))).collect::<Vec<_>>().join(", ");
        let Some(text) = value.as_str() else {
            return Err(format!("is {}; write one of {}", shown(value), words()));
        };
        let found = all.iter().copied().find(|&word| as_str(word) == text);
        found.ok_or_else(|| format!("is {}; write one of {}", quoted(text), words()))
    }
}

/// An integer within bounds.
pub(super) fn integer(min: i64, max: i64) -> impl Fn(&DeValue<'_>) -> Read<i64> {
    move |value| {
        let DeValue::Integer(integer) = value else {
            return Err(format!("is {}; write an integer, {min} to {max}", shown(value)));
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| format!("is {}; write {min} to {max}", cut(&integer.to_string())))
    }
}

/// A number from 0 on, within bounds that an `i64` holds.
pub(super) fn natural(min: u64, max: u64) -> impl Fn(&DeValue<'_>) -> Read<u64> {
    let bound = |bound: u64| i64::try_from(bound).expect("the bounds of numbers are below those of i64");
    let read = integer(bound(min), bound(max));
    move |value| read(value).map(i64::unsigned_abs)
}

/// A number from 0 on in the digits of a register's cell.
pub(super) fn natural_in_digits(min: u64, max: u64) -> impl Fn(&DeValue<'_>) -> Read<u64> {
    move |value| {
        let text = text_of(value, "")?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("is {}; write an integer, {min} to {max}", quoted(text)));
        }
        let number = text.parse().ok().filter(|number| (min..=max).contains(number));
        number.ok_or_else(|| format!("is {}; write {min} to {max}", cut(text)))
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().ok_or_else(|| format!("is {}; write true or false", shown(value)))
}

/// A count from 1 on.
pub(super) fn count(value: &DeValue<'_>) -> Read<u32> {
    integer(1, u32::MAX.into())(value).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

/// An amount of money or points.
pub(super) fn amount(value: &DeValue<'_>) -> Read<i64> {
    integer(0, AMOUNT_MAX)(value)
}

/// A number as it is written, for a message (digits are ASCII).
fn cut(digits: &str) -> String {
    digits.get(..30).map_or_else(|| digits.to_owned(), |start| format!("{start}…"))
}

/// A duration that is not nothing, in ms.
pub(super) fn positive_ms(value: &DeValue<'_>) -> Read<i64> {
    match duration_ms(value)? {
        0 => Err("is nothing; write a duration of 1ms or more".to_owned()),
        ms => Ok(ms),
    }
}

/// The id of a guide: not one of the words that stand for other successors.
pub(super) fn guide_id(value: &DeValue<'_>) -> Read<String> {
    match id(value)? {
        word if word == "store" || word == "keep" => {
            Err(format!("is {}, which means something else as a `successor`; name the guide otherwise", quoted(&word)))
        }
        id => Ok(id),
    }
}

/// A duration, in ms.
pub(super) fn duration_ms(value: &DeValue<'_>) -> Read<i64> {
    parse_duration_ms(text_of(value, DURATION_EXAMPLE)?)
}

const DURATION_EXAMPLE: &str = ", such as \"500ms\", \"10s\", \"15m\", \"48h\" or \"15d\"";

/// The ms of a duration in text.
pub(super) fn parse_duration_ms(text: &str) -> Read<i64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => 0,
    };
    if digits == 0 || unit == 0 {
        return Err(format!("is {}; write an integer and a unit{DURATION_EXAMPLE}", quoted(text)));
    }
    let ms = text[..digits].parse::<i64>().ok().and_then(|n| n.checked_mul(unit));
    ms.filter(|&ms| ms <= DURATION_MAX_MS).ok_or_else(|| format!("is {}; write at most \"36500d\"", quoted(text)))
}

/// A duration of whole minutes, at most the given number.
pub(super) fn minutes(max: u32) -> impl Fn(&DeValue<'_>) -> Read<u32> {
    move |value| {
        let ms = duration_ms(value)?;
        if ms % MINUTE_MS != 0 {
            return Err("is no whole number of minutes; write for example \"90m\" or \"3d\"".to_owned());
        }
        let minutes = u32::try_from(ms / MINUTE_MS).ok().filter(|&minutes| minutes <= max);
        minutes.ok_or_else(|| format!("is longer than {} days; write at most that", max / (24 * 60)))
    }
}

/// A moment: a TOML datetime with an offset, or RFC 3339 in quotes.
pub(super) fn time(value: &DeValue<'_>) -> Read<Millis> {
    match value {
        DeValue::String(text) => parse_rfc3339(text).map_err(|what| format!("{what}: {}", quoted(text))),
        DeValue::Datetime(time) => {
            let (Some(day), Some(clock)) = (time.date, time.time) else {
                return Err("is only half of a time; write a date and a time with an offset".to_owned());
            };
            let Some(offset) = time.offset else {
                return Err("has no offset; end it with Z or, for example, +08:00".to_owned());
            };
            // TOML lets a blank stand for the T and seconds be left out.
            let (second, nanosecond) = (clock.second.unwrap_or(0), clock.nanosecond.unwrap_or(0));
            let rfc3339 = format!(
                "{:04}-{:02}-{:02}T{:02}:{:02}:{second:02}.{nanosecond:09}{offset}",
                day.year, day.month, day.day, clock.hour, clock.minute
            );
            parse_rfc3339(&rfc3339).map_err(str::to_owned)
        }
        other => Err(format!("is {}; write a time with an offset, such as 2026-11-01T00:00:00+08:00", shown(other))),
    }
}

/// An exact ratio, at most 1.
pub(super) fn ratio(value: &DeValue<'_>) -> Read<Ratio> {
    const EXAMPLE: &str = ", such as \"1/20\", \"5%\" or \"0.05\": ratios are exact";
    let text = text_of(value, EXAMPLE)?;
    let ratio = Ratio::parse(text).map_err(|what| format!("{what}: {}", quoted(text)))?;
    if ratio.numerator > ratio.denominator {
        return Err(format!("is {}; write at most 1", quoted(text)));
    }
    Ok(ratio)
}

/// A rate in whole parts per million, at most 1.
pub(super) fn rate_ppm(value: &DeValue<'_>) -> Read<u32> {
    let ppm = ratio(value)?.ppm();
    ppm.ok_or_else(|| "is no whole number of millionths; write for example \"1/20\" or \"0.052500\"".to_owned())
}

/// A GLN or GSRN: the given number of digits, the last its check digit.
pub(super) fn gs1(name: &'static str, length: usize) -> impl Fn(&DeValue<'_>) -> Read<u64> {
    move |value| {
        let text = text_of(value, "")?;
        if text.len() != length || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("is {}; a {name} has {length} digits", quoted(text)));
        }
        checked_digits(text).ok_or_else(|| format!("is {}, whose check digit (the last) is wrong", quoted(text)))
    }
}

/// A GTIN of 8, 12, 13 or 14 digits, as the number of its 14 digits.
pub(super) fn gtin(value: &DeValue<'_>) -> Read<u64> {
    let text = text_of(value, "")?;
    if !matches!(text.len(), 8 | 12 | 13 | 14) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("is {}; a GTIN has 8, 12, 13 or 14 digits", quoted(text)));
    }
    code::gtin(text).ok_or_else(|| format!("is {}, whose check digit (the last) is wrong", quoted(text)))
}

/// An alphabetic code of ISO 4217 that has a minor unit.
pub(super) fn currency(value: &DeValue<'_>) -> Read<String> {
    let text = text_of(value, "")?;
    match iso_currency::Currency::from_code(text).map(iso_currency::Currency::exponent) {
        Some(Some(_)) => Ok(text.to_owned()),
        Some(None) => Err(format!("is {}, which has no minor unit in ISO 4217; write another currency", quoted(text))),
        None => Err(format!("is {}; write a code of ISO 4217, such as \"CNY\"", quoted(text))),
    }
}

/// A time zone of the IANA database.
pub(super) fn time_zone(value: &DeValue<'_>) -> Read<String> {
    let text = text_of(value, "")?;
    let wrong = || format!("is {}; write a time zone of the IANA database, such as \"Asia/Shanghai\"", quoted(text));
    // The database gives this name where the zone is unknown.
    let zone = Some(text).filter(|name| !name.eq_ignore_ascii_case("Etc/Unknown")).and_then(Zone::named);
    zone.map(|zone| zone.name().to_owned()).ok_or_else(wrong)
}

/// An absolute https URL of printable ASCII.
pub(super) fn https_url(value: &DeValue<'_>) -> Read<String> {
    let text = text(PATH_BYTES_MAX)(value)?;
    if !is_url(&text, &["https://"]) {
        let shape = "write an absolute https URL, such as \"https://m.example/wheel\", encoded where needed";
        return Err(format!("is {}; {shape}", quoted(&text)));
    }
    Ok(text)
}

/// What minted URLs begin with: an absolute http or https URL of printable ASCII.
pub(super) fn url_prefix(value: &DeValue<'_>) -> Read<String> {
    let text = text(URL_PREFIX_BYTES_MAX)(value)?;
    if !is_url(&text, &["https://", "http://"]) {
        let shape = "write what URLs of codes begin with, such as \"https://m.example/c/\", encoded where needed";
        return Err(format!("is {}; {shape}", quoted(&text)));
    }
    Ok(text)
}

/// Whether a text is an absolute URL of printable ASCII with one of these schemes, and with a host.
fn is_url(text: &str, schemes: &[&str]) -> bool {
    let has_scheme = |scheme: &&&str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let Some(scheme) = schemes.iter().find(has_scheme) else { return false };
    let after = &text[scheme.len()..];
    let host = &after[..after.find(['/', '?', '#']).unwrap_or(after.len())];
    let (name, port) = host.split_once(':').unwrap_or((host, "443"));
    !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        && port.parse::<u16>().is_ok_and(|port| port > 0)
        && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b))
}

/// A SHA-256 as 64 hex digits.
pub(super) fn hash(value: &DeValue<'_>) -> Read<[u8; 32]> {
    let text = text_of(value, "")?;
    hex32(text.as_bytes()).ok_or_else(|| format!("is {}; write a SHA-256, 64 hex digits", quoted(text)))
}
