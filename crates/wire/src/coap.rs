//! Messages of CoAP (RFC 7252, section 3): the part that the edge needs, borrowed from the datagram, without allocation.
//!
//! A message is a header of four bytes, a token, options in ascending order of their numbers, and a payload behind a marker.
//! Options are looked up by number. Of an option that may only come once the first value counts; a second one is an unknown
//! option (section 5.4.5).

use std::fmt;

/// Length of the header (version, type, token length, code, id), in bytes.
const HEADER_BYTES: usize = 4;
const TOKEN_BYTES_MAX: usize = 8;
/// Version 1 and the type of a confirmable message: the upper half of the first byte.
const CONFIRMABLE: u8 = 1 << 2 | Kind::Confirmable as u8;
/// The byte between the options and the payload.
const MARKER: u8 = 0xFF;
/// Nibbles that say that an option's delta or length is in one more byte, or in two more.
const ONE_MORE: u32 = 13;
const TWO_MORE: u32 = 14;
/// The least value of a delta or length with two more bytes.
const TWO_MORE_FROM: u32 = 269;

/// Numbers of options (sections 5.10 and 12.2).
pub mod number {
    /// Uri-Host.
    pub(crate) const URI_HOST: u16 = 3;
    /// Uri-Port.
    pub(crate) const URI_PORT: u16 = 7;
    /// Uri-Path.
    pub const URI_PATH: u16 = 11;
    /// Content-Format.
    pub const CONTENT_FORMAT: u16 = 12;
    /// Max-Age, in seconds.
    pub const MAX_AGE: u16 = 14;
    /// Uri-Query.
    pub const URI_QUERY: u16 = 15;
    /// Accept.
    pub const ACCEPT: u16 = 17;
    /// Proxy-Uri.
    pub const PROXY_URI: u16 = 35;
    /// Proxy-Scheme.
    pub const PROXY_SCHEME: u16 = 39;
    /// RFC 7959, section 4.
    pub const SIZE1: u16 = 60;
}

/// `application/json` as a Content-Format (section 12.3).
pub const JSON: u32 = 50;
/// `application/cbor` as a Content-Format (RFC 8949, section 9.4).
pub const CBOR: u32 = 60;

/// How a message is to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be answered; repeated until it is.
    Confirmable,
    /// Not to be acknowledged.
    NonConfirmable,
    /// Acknowledges a confirmable message, and may have its answer.
    Acknowledgement,
    /// Says that a message was received and cannot be processed.
    Reset,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Confirmable, Self::NonConfirmable, Self::Acknowledgement, Self::Reset];
}

/// Class and detail of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u8);

impl Code {
    /// 0.00, an empty message.
    pub const EMPTY: Self = Self::of(0, 0);
    /// 0.02, the method POST.
    pub const POST: Self = Self::of(0, 2);
    /// 2.04 Changed.
    pub const CHANGED: Self = Self::of(2, 4);
    /// 4.00 Bad Request.
    pub const BAD_REQUEST: Self = Self::of(4, 0);
    /// 4.01 Unauthorized.
    pub const UNAUTHORIZED: Self = Self::of(4, 1);
    /// 4.02 Bad Option.
    pub const BAD_OPTION: Self = Self::of(4, 2);
    /// 4.03 Forbidden.
    pub const FORBIDDEN: Self = Self::of(4, 3);
    /// 4.04 Not Found.
    pub const NOT_FOUND: Self = Self::of(4, 4);
    /// 4.05 Method Not Allowed.
    pub const METHOD_NOT_ALLOWED: Self = Self::of(4, 5);
    /// 4.06 Not Acceptable.
    pub const NOT_ACCEPTABLE: Self = Self::of(4, 6);
    /// 4.13 Request Entity Too Large.
    pub const TOO_LARGE: Self = Self::of(4, 13);
    /// 4.15 Unsupported Content-Format.
    pub const UNSUPPORTED_FORMAT: Self = Self::of(4, 15);
    /// 4.29 Too Many Requests (RFC 8516).
    pub const TOO_MANY_REQUESTS: Self = Self::of(4, 29);
    /// 5.03 Service Unavailable.
    pub const UNAVAILABLE: Self = Self::of(5, 3);
    /// 5.05 Proxying Not Supported.
    pub const PROXYING_NOT_SUPPORTED: Self = Self::of(5, 5);

    const fn of(class: u8, detail: u8) -> Self {
        Self(class << 5 | detail)
    }

    /// The class: 0 is a request, 2 success, 4 an error of the client, 5 one of the server.
    #[must_use]
    pub fn class(self) -> u8 {
        self.0 >> 5
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.class(), self.0 & 0x1F)
    }
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is shorter than a header; its number of bytes.
    #[error("the datagram has {0} bytes; send a whole message, {HEADER_BYTES} bytes or more")]
    Short(usize),
    /// It is of another version.
    #[error("the version is {0}; send version 1")]
    Version(u8),
    /// Its token is too long.
    #[error("the token has {0} bytes; send at most {TOKEN_BYTES_MAX}")]
    TokenLength(u8),
    /// It ends inside its token.
    #[error("the message ends inside its token")]
    Token,
    /// It has the code of an empty message, and more than a header.
    #[error("an empty message has more than its header")]
    NotEmpty,
    /// One of its options is malformed.
    #[error("the option at byte {byte} {what}")]
    Option {
        /// Where the option begins, from 0.
        byte: usize,
        /// What is wrong, as a phrase.
        what: &'static str,
    },
    /// It has a payload marker and no payload.
    #[error("there is no payload behind its marker")]
    NoPayload,
}

/// An option of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opt<'a> {
    /// As in [`number`].
    pub number: u16,
    /// Its bytes.
    pub value: &'a [u8],
}

impl Opt<'_> {
    /// Whether a receiver that does not know the option must refuse the message (section 5.4.1).
    #[must_use]
    pub(crate) fn is_critical(&self) -> bool {
        self.number & 1 == 1
    }

    /// Its value as a number, in network byte order; `None` if it has more than four bytes.
    #[must_use]
    pub fn uint(&self) -> Option<u32> {
        (self.value.len() <= 4).then(|| self.value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)))
    }
}

/// A message whose every byte was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// How it is to be treated.
    pub kind: Kind,
    /// Its method, or what it answers.
    pub code: Code,
    /// The message id, which an acknowledgement repeats.
    pub id: u16,
    /// The token, which an answer repeats; at most 8 bytes.
    pub token: &'a [u8],
    /// As they stand, known to be well formed.
    options: &'a [u8],
    /// What follows the payload marker; empty if there is none.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let Some((&[first, code, id @ ..], rest)) = datagram.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Malformed::Short(datagram.len()));
        };
        if first >> 6 != 1 {
            return Err(Malformed::Version(first >> 6));
        }
        let token_bytes = first & 0xF;
        if usize::from(token_bytes) > TOKEN_BYTES_MAX {
            return Err(Malformed::TokenLength(token_bytes));
        }
        let code = Code(code);
        if code == Code::EMPTY && datagram.len() > HEADER_BYTES {
            return Err(Malformed::NotEmpty);
        }
        let (token, rest) = rest.split_at_checked(usize::from(token_bytes)).ok_or(Malformed::Token)?;
        let options_at = datagram.len() - rest.len();
        let mut options = Options { rest, number: 0 };
        loop {
            let byte = datagram.len() - options.rest.len();
            if options.step().map_err(|what| Malformed::Option { byte, what })?.is_none() {
                break;
            }
        }
        let payload = match options.rest {
            [] => options.rest,
            [MARKER] => return Err(Malformed::NoPayload),
            [_, payload @ ..] => payload,
        };
        let options = &datagram[options_at..datagram.len() - options.rest.len()];
        let kind = Kind::ALL[usize::from(first >> 4 & 3)];
        Ok(Self { kind, code, id: u16::from_be_bytes(id), token, options, payload })
    }

    /// The id of a datagram that [`Message::parse`] refuses and whose sender waits for a reset (section 4.2): its header is that
    /// of a confirmable message of version 1. All others are ignored in silence (sections 3 and 4.3).
    #[must_use]
    pub fn confirmable_id(datagram: &[u8]) -> Option<u16> {
        let &[first, _, id @ ..] = datagram.first_chunk::<HEADER_BYTES>()?;
        (first >> 4 == CONFIRMABLE).then(|| u16::from_be_bytes(id))
    }

    /// Its options, in ascending order of their numbers.
    pub fn options(&self) -> impl Iterator<Item = Opt<'a>> + use<'a> {
        Options { rest: self.options, number: 0 }
    }

    /// The values of an option, as often as it is there.
    pub fn values(&self, number: u16) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.options().filter(move |option| option.number == number).map(|option| option.value)
    }

    /// Whether its path is of just these segments.
    #[must_use]
    pub fn path_is(&self, segments: &[&str]) -> bool {
        self.values(number::URI_PATH).eq(segments.iter().map(|segment| segment.as_bytes()))
    }

    /// The value of the first argument `name=` of its query.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&'a [u8]> {
        self.values(number::URI_QUERY).find_map(|argument| argument.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    /// What its payload is said to be; an option that is too long is ignored, for it is elective.
    #[must_use]
    pub fn content_format(&self) -> Option<u32> {
        self.options().find(|option| option.number == number::CONTENT_FORMAT && option.value.len() <= 2)?.uint()
    }

    /// The Content-Format that the answer is wanted in (section 5.10.4). One that is too long is an unknown critical option.
    #[must_use]
    pub fn accept(&self) -> Option<u32> {
        self.options().find(|option| option.number == number::ACCEPT)?.uint()
    }

    /// The first critical option that a resource does not know which is asked for by path, query and Accept alone.
    #[must_use]
    pub fn critical_unknown(&self) -> Option<u16> {
        use number::{ACCEPT, URI_HOST, URI_PATH, URI_PORT, URI_QUERY};
        let mut before = None;
        let is_unknown = |option: &Opt<'_>| {
            let is_again = before.replace(option.number) == Some(option.number);
            let bytes = option.value.len();
            match option.number {
                URI_HOST => is_again || !(1..=255).contains(&bytes),
                URI_PORT | ACCEPT => is_again || bytes > 2,
                URI_PATH | URI_QUERY => bytes > 255,
                _ => option.is_critical(),
            }
        };
        self.options().find(is_unknown).map(|option| option.number)
    }
}

/// Walks over options.
#[derive(Clone, Debug)]
struct Options<'a> {
    rest: &'a [u8],
    number: u16,
}

impl<'a> Options<'a> {
    /// The next option; `None` at the end or at the marker of the payload.
    fn step(&mut self) -> Result<Option<Opt<'a>>, &'static str> {
        let [head, rest @ ..] = self.rest else { return Ok(None) };
        if *head == MARKER {
            return Ok(None);
        }
        let (delta, rest) = extended(u32::from(head >> 4), rest)?;
        let (bytes, rest) = extended(u32::from(head & 0xF), rest)?;
        let number = u16::try_from(u32::from(self.number) + delta).map_err(|_| "has a number above 65535")?;
        let bytes = usize::try_from(bytes).map_err(|_| "is longer than the message")?;
        let (value, rest) = rest.split_at_checked(bytes).ok_or("is longer than the message")?;
        (self.number, self.rest) = (number, rest);
        Ok(Some(Opt { number, value }))
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Opt<'a>;

    fn next(&mut self) -> Option<Opt<'a>> {
        self.step().ok().flatten()
    }
}

/// A delta or a length, with the bytes that extend it.
fn extended(nibble: u32, rest: &[u8]) -> Result<(u32, &[u8]), &'static str> {
    const CUT: &str = "ends inside its head";
    match nibble {
        ONE_MORE => rest.split_first().map(|(more, rest)| (ONE_MORE + u32::from(*more), rest)).ok_or(CUT),
        TWO_MORE => {
            let (more, rest) = rest.split_first_chunk::<2>().ok_or(CUT)?;
            Ok((TWO_MORE_FROM + u32::from(u16::from_be_bytes(*more)), rest))
        }
        15 => Err("has a delta or length of 15, which is reserved"),
        small => Ok((small, rest)),
    }
}

/// Writes a message into a buffer; once something did not fit, there is no message.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    bytes: usize,
    number: u16,
    fits: bool,
}

impl<'b> Writer<'b> {
    /// Begins a message.
    ///
    /// # Panics
    /// If the token has more than 8 bytes.
    pub fn new(buffer: &'b mut [u8], kind: Kind, code: Code, id: u16, token: &[u8]) -> Self {
        assert!(token.len() <= TOKEN_BYTES_MAX, "a token has at most {TOKEN_BYTES_MAX} bytes");
        let token_bytes = u8::try_from(token.len()).expect("at most 8");
        let mut writer = Self { buffer, bytes: 0, number: 0, fits: true };
        writer.put(&[1 << 6 | (kind as u8) << 4 | token_bytes, code.0]);
        writer.put(&id.to_be_bytes());
        writer.put(token);
        writer
    }

    /// Adds an option.
    ///
    /// # Panics
    /// If its number is below that of the one before.
    #[must_use]
    pub fn option(mut self, number: u16, value: &[u8]) -> Self {
        let delta = number.checked_sub(self.number).expect("options come in ascending order");
        self.number = number;
        let Ok(length) = u16::try_from(value.len()) else {
            self.fits = false;
            return self;
        };
        let (delta, length) = (Extended::of(delta), Extended::of(length));
        self.put(&[delta.nibble << 4 | length.nibble]);
        self.put(delta.more());
        self.put(length.more());
        self.put(value);
        self
    }

    /// Adds an option whose value is a number, in as few bytes as it takes.
    #[must_use]
    pub fn uint(self, number: u16, value: u32) -> Self {
        let bytes = value.to_be_bytes();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        self.option(number, &bytes[zeros..])
    }

    /// Ends the message with a payload, which may be empty; `None` if it did not fit.
    #[must_use]
    pub fn payload(mut self, payload: &[u8]) -> Option<&'b [u8]> {
        if !payload.is_empty() {
            self.put(&[MARKER]);
            self.put(payload);
        }
        let Self { buffer, bytes, fits, .. } = self;
        fits.then_some(&buffer[..bytes])
    }

    /// How many bytes a payload may still have.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.fits { (self.buffer.len() - self.bytes).saturating_sub(1) } else { 0 }
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.bytes + bytes.len();
        match self.buffer.get_mut(self.bytes..end).filter(|_| self.fits) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.bytes = end;
            }
            None => self.fits = false,
        }
    }
}

/// A delta or a length, as it is written.
struct Extended {
    nibble: u8,
    bytes: [u8; 2],
    more: usize,
}

impl Extended {
    fn of(value: u16) -> Self {
        match value {
            0..13 => Self { nibble: value.to_be_bytes()[1], bytes: [0; 2], more: 0 },
            13..269 => Self { nibble: 13, bytes: [(value - 13).to_be_bytes()[1], 0], more: 1 },
            269.. => Self { nibble: 14, bytes: (value - 269).to_be_bytes(), more: 2 },
        }
    }

    fn more(&self) -> &[u8] {
        &self.bytes[..self.more]
    }
}
