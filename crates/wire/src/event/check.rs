//! Every check of an event's fields, all of them each time.

use bumpalo::Bump;
use domain::model::event::{Action, Code, Event, Part, Payment};
use domain::model::ids;
use domain::model::money::AMOUNT_MAX;
use domain::model::time::{INTEGER_TIME_MIN, Millis, in_range, parse_rfc3339};

use super::fields::{Field, Fields, Scalar};
use super::{Accepted, CODE_BYTES_MAX, FieldError, Merchants, Reason, Refused};
use crate::code::parse_link;
use crate::json::quoted;

/// Maximum length of texts other than codes, in bytes; a longer text is a mistake.
const TEXT_BYTES_MAX: usize = 64;
/// Control characters that texts of codes may have: line ends and GS, which scanners send.
const CODE_CONTROLS: [char; 3] = ['\r', '\n', '\u{1D}'];
/// What a shopper's name begins with where a device stands in.
const DEVICE_PREFIX: &str = "device:";

/// Makes an event of its fields.
pub(super) fn event<'a>(fields: &Fields<'a>, merchants: &Merchants, arena: &'a Bump) -> Result<Accepted<'a>, Refused> {
    let mut check = Check { fields, errors: Vec::new() };
    check.repeated();
    let id = check.text(Field::Id, TEXT_BYTES_MAX);
    let action = check.word(Field::Action, Action::ALL, Action::as_str);
    let given_shopper = check.text(Field::Shopper, TEXT_BYTES_MAX);
    let given_merchant = check.text(Field::Merchant, TEXT_BYTES_MAX);
    let time = check.time(Field::Time);
    let code = check.text(Field::Code, CODE_BYTES_MAX);
    let [store, guide, region, channel, device] =
        [Field::Store, Field::Guide, Field::Region, Field::Channel, Field::Device]
            .map(|field| check.text(field, TEXT_BYTES_MAX));
    let number = check.text(Field::Order, TEXT_BYTES_MAX);
    let amount = check.integer(Field::Amount, "an integer of minor units", AMOUNT_MAX);
    let currency = check.text(Field::Currency, TEXT_BYTES_MAX);
    let part = check.word(Field::Part, Part::ALL, Part::as_str);
    let ticket = check.text(Field::Ticket, TEXT_BYTES_MAX);
    let received = check.time(Field::Received);
    let keyless = check.switch(Field::Keyless).unwrap_or(false);

    check.needed(action);
    let merchant = check.merchant(given_merchant, merchants);
    check.currency(currency, merchant);
    let errors = check.errors;
    // Without errors each needed field is there, so that either all of these are or the event is refused.
    let (true, Some(id), Some(action), Some((merchant, _))) = (errors.is_empty(), id, action, merchant) else {
        return Err(Refused { id: id.map(str::to_owned), errors });
    };
    let shopper = given_shopper.unwrap_or_else(|| joined(DEVICE_PREFIX, device.unwrap_or_default(), arena));
    let order = match (action, number, amount) {
        (Action::Order, Some(number), Some(amount)) => {
            Some(Payment { number, amount, part: part.unwrap_or(Part::Sale) })
        }
        (Action::Refund, Some(number), Some(amount)) => Some(Payment { number, amount, part: Part::Sale }),
        _ => None,
    };
    let merchant = given_merchant.unwrap_or_else(|| arena.alloc_str(merchant));
    let event = Event {
        key: ids::event_key(merchant, shopper, action.as_str(), id),
        shopper_key: ids::shopper_key(merchant, shopper),
        merchant,
        id,
        shopper,
        action,
        stamp: 0,
        time,
        code: code.map(|text| Code { text, link: parse_link(text, arena) }),
        store,
        guide,
        region,
        channel,
        device,
        ticket,
        order,
        keyless,
    };
    Ok(Accepted { event, received, unknown_fields: fields.unknown })
}

/// The id, if it at least is right.
pub(super) fn id(fields: &Fields<'_>) -> Option<String> {
    Check { fields, errors: Vec::new() }.text(Field::Id, TEXT_BYTES_MAX).map(str::to_owned)
}

fn joined<'a>(prefix: &str, text: &str, arena: &'a Bump) -> &'a str {
    let mut joined = bumpalo::collections::String::with_capacity_in(prefix.len() + text.len(), arena);
    joined.push_str(prefix);
    joined.push_str(text);
    joined.into_bump_str()
}

/// What is needed on an action, besides `id` and `action` themselves.
fn needed_on(action: Action) -> &'static [Field] {
    match action {
        Action::Scan => &[Field::Code],
        Action::Claim | Action::Redeem => &[Field::Ticket],
        Action::Order | Action::Refund => &[Field::Order, Field::Amount],
        Action::Visit | Action::Follow | Action::Join => &[],
    }
}

struct Check<'f, 'a> {
    fields: &'f Fields<'a>,
    errors: Vec<FieldError>,
}

/// A field's value is none if the field is left out, or wrong and in `errors`.
impl<'a> Check<'_, 'a> {
    fn text(&mut self, field: Field, bytes_max: usize) -> Option<&'a str> {
        let text = match self.fields.get(field)? {
            Scalar::Text(text) => text,
            Scalar::NoText => {
                let what = "has an escape that is no character; send both halves of a surrogate pair";
                return self.wrong(field, Reason::Utf8, what);
            }
            other => {
                let what = format!("is {}; send a text, in quotes", shown(other));
                return self.wrong(field, Reason::Type, &what);
            }
        };
        let length_is_wrong = text.is_empty() || text.len() > bytes_max;
        if text.is_empty() {
            self.wrong::<()>(field, Reason::Length, &format!("is empty; send 1 to {bytes_max} bytes"));
        } else if length_is_wrong {
            self.wrong::<()>(field, Reason::Length, &format!("has {} bytes; send 1 to {bytes_max}", text.len()));
        }
        // To the end in any case: several bytes at a time.
        let is_plain = text.bytes().fold(true, |plain, b| plain & (0x20..0x7F).contains(&b));
        let is_wrong = |c: char| c.is_control() && !(field == Field::Code && CODE_CONTROLS.contains(&c));
        if !is_plain && let Some((at, control)) = text.char_indices().find(|&(_, c)| is_wrong(c)) {
            let (number, byte) = (u32::from(control), at + 1);
            let what = format!("has the control character U+{number:04X} as its byte {byte}; send text without them");
            return self.wrong(field, Reason::Control, &what);
        }
        (!length_is_wrong).then_some(text)
    }

    fn word<T: Copy>(&mut self, field: Field, all: &[T], as_str: fn(T) -> &'static str) -> Option<T> {
        let text = match self.fields.get(field)? {
            Scalar::Text(text) => text,
            other => {
                let what = format!("is {}; send {}", shown(other), listed(all, as_str));
                return self.wrong(field, Reason::Type, &what);
            }
        };
        let word = all.iter().copied().find(|&word| as_str(word) == text);
        if word.is_none() {
            self.wrong::<()>(field, Reason::Value, &format!("is {}; send {}", quoted(text), listed(all, as_str)));
        }
        word
    }

    fn switch(&mut self, field: Field) -> Option<bool> {
        match self.fields.get(field)? {
            Scalar::Bool(value) => Some(value),
            other => self.wrong(field, Reason::Type, &format!("is {}; send true or false", shown(other))),
        }
    }

    fn integer(&mut self, field: Field, what: &str, max: i64) -> Option<i64> {
        match self.fields.get(field)? {
            Scalar::Integer(n) if (0..=max).contains(&n) => Some(n),
            Scalar::Integer(n) => self.wrong(field, Reason::Range, &format!("is {n}; send 0 to {max}")),
            Scalar::Number(raw) if is_integer(raw) => {
                self.wrong(field, Reason::Range, &format!("is {}; send 0 to {max}", cut(raw)))
            }
            Scalar::Number(raw) => {
                let mend = format!("is {}; send {what}, without point or exponent", cut(raw));
                self.wrong(field, Reason::Type, &mend)
            }
            text @ (Scalar::Text(_) | Scalar::NoText) => {
                self.wrong(field, Reason::Type, &format!("is {}; send {what}, without quotes", shown(text)))
            }
            other => self.wrong(field, Reason::Type, &format!("is {}; send {what}", shown(other))),
        }
    }

    fn time(&mut self, field: Field) -> Option<Millis> {
        const MEND: &str = "send RFC 3339 with an offset, in quotes, or integer milliseconds";
        let read = match self.fields.get(field)? {
            // A log dump's own stamp is what this program has written.
            Scalar::Integer(at) if (0..INTEGER_TIME_MIN).contains(&at) && field != Field::Received => {
                Err((Reason::Range, format!("is {at}; seconds? milliseconds are wanted: {MEND}")))
            }
            Scalar::Integer(at) => in_range(at).map_err(|what| (Reason::Range, format!("{what}: {at}"))),
            Scalar::Text(text) => {
                parse_rfc3339(text).map_err(|what| (Reason::Value, format!("{what}: {}", quoted(text))))
            }
            Scalar::Number(raw) if is_integer(raw) => {
                Err((Reason::Range, format!("is {}; {MEND} within 1970 to 9999", cut(raw))))
            }
            other => Err((Reason::Type, format!("is {}; {MEND}", shown(other)))),
        };
        read.map_err(|(reason, what)| self.wrong::<()>(field, reason, &what)).ok()
    }

    fn repeated(&mut self) {
        if !self.fields.are_repeated() {
            return;
        }
        for &field in Field::ALL {
            if self.fields.is_repeated(field) {
                self.wrong::<()>(field, Reason::Repeated, "is given twice; send it once");
            }
        }
    }

    fn needed(&mut self, action: Option<Action>) {
        let lacks = |field| self.fields.get(field).is_none();
        let mut missing = Vec::new();
        for field in [Field::Id, Field::Action] {
            if lacks(field) {
                missing.push((field, "every event needs one".to_owned()));
            }
        }
        let device_may = action.is_none_or(|action| matches!(action, Action::Scan | Action::Visit));
        if lacks(Field::Shopper) && (!device_may || lacks(Field::Device)) {
            let mend = match action {
                Some(Action::Scan | Action::Visit) => "send one, or a device",
                _ => "every event needs one (a device may stand in on scan and visit only)",
            };
            missing.push((Field::Shopper, mend.to_owned()));
        }
        if let Some(action) = action {
            let needed = needed_on(action).iter().filter(|&&field| lacks(field));
            missing.extend(needed.map(|&field| (field, format!("the action {action} needs one"))));
        }
        for (field, mend) in missing {
            self.wrong::<()>(field, Reason::Missing, &format!("is missing; {mend}"));
        }
    }

    /// The event's merchant and its currency.
    fn merchant<'m>(&mut self, given: Option<&str>, merchants: &'m Merchants) -> Option<(&'m str, &'m str)> {
        let pair = |(name, currency): (&'m String, &'m String)| (name.as_str(), currency.as_str());
        let known = &merchants.currencies;
        match given {
            Some(name) => known.get_key_value(name).map(pair).or_else(|| {
                let what = format!("is {}, which is not known here; send the name in its rules", quoted(name));
                self.wrong(Field::Merchant, Reason::Merchant, &what)
            }),
            None if self.fields.get(Field::Merchant).is_some() => None,
            None if known.len() == 1 => known.first_key_value().map(pair),
            None => {
                let what = format!(
                    "is missing; it may be left out only where one merchant is known (here are {})",
                    known.len()
                );
                self.wrong(Field::Merchant, Reason::Missing, &what)
            }
        }
    }

    fn currency(&mut self, given: Option<&str>, merchant: Option<(&str, &str)>) {
        let Some(given) = given else { return };
        match merchant {
            Some((name, currency)) if given != currency => {
                let what = format!("is {}; {} has {currency}: send that or leave it out", quoted(given), quoted(name));
                self.wrong::<()>(Field::Currency, Reason::Currency, &what);
            }
            None if iso_currency::Currency::from_code(given).is_none() => {
                let what = format!("is {}; send a code of ISO 4217 or leave it out", quoted(given));
                self.wrong::<()>(Field::Currency, Reason::Currency, &what);
            }
            _ => {}
        }
    }

    fn wrong<T>(&mut self, field: Field, reason: Reason, what: &str) -> Option<T> {
        let field = field.as_str();
        self.errors.push(FieldError { field: field.to_owned(), error: format!("{field}: {what}"), reason });
        None
    }
}

/// A value of a wrong type, for a message.
pub(super) fn shown(value: Scalar<'_>) -> String {
    match value {
        Scalar::Text(text) => format!("the text {}", quoted(text)),
        Scalar::NoText => "a text".to_owned(),
        Scalar::Integer(n) => format!("the number {n}"),
        Scalar::Number(raw) => format!("the number {}", cut(raw)),
        Scalar::Bool(value) => value.to_string(),
        Scalar::List => "a list".to_owned(),
        Scalar::Object => "an object".to_owned(),
    }
}

fn is_integer(raw: &str) -> bool {
    !raw.contains(['.', 'e', 'E'])
}

/// A number as it is written, for a message (digits are ASCII).
fn cut(raw: &str) -> String {
    const DIGITS_MAX: usize = 30;
    raw.get(..DIGITS_MAX).map_or_else(|| raw.to_owned(), |start| format!("{start}…"))
}

fn listed<T: Copy>(all: &[T], as_str: fn(T) -> &'static str) -> String {
    let words: Vec<&str> = all.iter().map(|&word| as_str(word)).collect();
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
