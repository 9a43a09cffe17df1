//! An answer that is no larger than its request.

use serde::Serialize;
use wire::coap::{CBOR, Code, JSON, Kind, Message, Writer, number};

use super::exchanges::Key;

/// Maximum number of bytes of an answer, which fits one packet; a longer text is truncated, other content is left out.
pub(super) const REPLY_BYTES_MAX: usize = 1152;

/// A signature as it is sent: 16 bytes as base64url.
pub(super) type Signature = [u8; 22];

/// The address of an answer, and its maximum size.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) key: Key,
    pub(super) format: Format,
    /// Of a signed request that is the first with its signature.
    pub(super) signature: Option<Signature>,
    /// Whether its sender waits for an answer; a signed message that does not is only remembered.
    pub(super) is_confirmable: bool,
    token: [u8; 8],
    token_bytes: usize,
    bytes: usize,
}

/// The format of an answer's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Cbor,
}

impl Format {
    /// The format that a message accepts, JSON if it names none; `None` if there is no such format (RFC 7252, section 5.10.4).
    pub(super) fn of(message: &Message<'_>) -> Option<Self> {
        match message.accept() {
            None | Some(JSON) => Some(Self::Json),
            Some(CBOR) => Some(Self::Cbor),
            Some(_) => None,
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Json => JSON,
            Self::Cbor => CBOR,
        }
    }

    /// Writes some content.
    pub(super) fn write(self, content: &impl Serialize) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Json => serde_json::to_writer(&mut bytes, content).expect("memory takes it, and its keys are texts"),
            Self::Cbor => ciborium::into_writer(content, &mut bytes).expect("memory takes it"),
        }
        bytes
    }
}

/// An answer without its address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reply<'a> {
    pub(super) code: Code,
    /// Time after which the sender may retry, in seconds.
    pub(super) max_age_s: Option<u32>,
    /// Maximum number of bytes of a body (RFC 7959, section 4).
    pub(super) size1: Option<u32>,
    pub(super) body: Body<'a>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    Nothing,
    /// Text for people, which is truncated if it does not fit.
    Diagnostic(&'a str),
    /// Content in the format of the request; left out unless it fits as a whole.
    Content(&'a [u8]),
}

impl Reply<'_> {
    pub(super) fn new(code: Code, body: Body<'_>) -> Reply<'_> {
        Reply { code, max_age_s: None, size1: None, body }
    }
}

impl Request {
    /// The address and maximum size of the answer to a message of this number of bytes.
    pub(super) fn new(message: &Message<'_>, key: Key, bytes: usize) -> Self {
        let mut token = [0; 8];
        token[..message.token.len()].copy_from_slice(message.token);
        let format = Format::of(message).unwrap_or(Format::Json);
        let is_confirmable = message.kind == Kind::Confirmable;
        Self { key, format, signature: None, is_confirmable, token, token_bytes: message.token.len(), bytes }
    }

    /// Whether an answer of this number of bytes is allowed.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        bytes <= self.bytes
    }

    /// Writes the answer, with as much content as fits.
    pub(super) fn answer<'b>(&self, reply: Reply<'_>, buffer: &'b mut [u8; REPLY_BYTES_MAX]) -> &'b [u8] {
        let least = Reply { max_age_s: None, size1: None, body: Body::Nothing, ..reply };
        let bare = Reply { body: Body::Nothing, ..reply };
        let bytes = [reply, bare, least].into_iter().find_map(|reply| self.write(reply, buffer));
        &buffer[..bytes.expect("an answer without more than a header and a token is no larger than its request")]
    }

    /// Writes an answer; `None` if it does not fit.
    fn write(&self, reply: Reply<'_>, buffer: &mut [u8; REPLY_BYTES_MAX]) -> Option<usize> {
        let space = self.bytes.min(REPLY_BYTES_MAX);
        let token = &self.token[..self.token_bytes];
        let mut writer = Writer::new(&mut buffer[..space], Kind::Acknowledgement, reply.code, self.key.1, token);
        if let Body::Content(_) = reply.body {
            writer = writer.uint(number::CONTENT_FORMAT, self.format.number());
        }
        if let Some(seconds) = reply.max_age_s {
            writer = writer.uint(number::MAX_AGE, seconds);
        }
        if let Some(bytes) = reply.size1 {
            writer = writer.uint(number::SIZE1, bytes);
        }
        let payload = match reply.body {
            Body::Nothing => &[],
            Body::Content(content) => content,
            Body::Diagnostic(text) => &text.as_bytes()[..text.floor_char_boundary(writer.room())],
        };
        writer.payload(payload).map(<[u8]>::len)
    }
}

#[cfg(test)]
mod tests {
    use super::{Body, REPLY_BYTES_MAX, Reply, Request};
    use wire::coap::{Code, Kind, Message, Writer, number};

    /// Checks the answer to a request of this number of bytes, which must not be larger.
    fn check(bytes: usize, reply: Reply<'_>, wanted: (Option<u32>, &str)) {
        let mut request = vec![0; bytes];
        let writer = Writer::new(&mut request, Kind::Confirmable, Code::POST, 7, b"tok");
        let space = writer.room();
        writer.payload(&vec![b'x'; space]).expect("space");
        let message = Message::parse(&request).expect("a message");
        let request = Request::new(&message, (([192, 0, 2, 1], 1).into(), 7, 0), bytes);
        let mut buffer = [0; REPLY_BYTES_MAX];
        let answer = request.answer(reply, &mut buffer);
        assert!(answer.len() <= bytes && request.takes(answer.len()));
        let answer = Message::parse(answer).expect("a message");
        assert_eq!(
            (answer.kind, answer.code, answer.id, answer.token),
            (Kind::Acknowledgement, reply.code, 7, &b"tok"[..])
        );
        let max_age = answer.options().find(|o| o.number == number::MAX_AGE).and_then(|o| o.uint());
        assert_eq!((max_age, std::str::from_utf8(answer.payload).expect("UTF-8")), wanted);
    }

    #[test]
    fn an_answer_is_cut_to_its_request() {
        let busy = Reply { max_age_s: Some(5), ..Reply::new(Code::UNAVAILABLE, Body::Diagnostic("盘满 full")) };
        check(7, busy, (None, ""));
        check(8, busy, (None, ""));
        check(9, busy, (None, ""));
        check(10, busy, (Some(5), ""));
        check(13, busy, (Some(5), ""));
        check(14, busy, (Some(5), "盘"));
        check(16, busy, (Some(5), "盘"));
        check(17, busy, (Some(5), "盘满"));
        check(22, busy, (Some(5), "盘满 full"));
        check(60_000, busy, (Some(5), "盘满 full"));
        let json = Reply::new(Code::CHANGED, Body::Content(b"{\"accepted\":1}"));
        check(7, json, (None, ""));
        check(23, json, (None, ""));
        check(24, json, (None, "{\"accepted\":1}"));
        let long = "x".repeat(2_000);
        check(60_000, Reply::new(Code::BAD_REQUEST, Body::Diagnostic(&long)), (None, &long[..REPLY_BYTES_MAX - 8]));
        check(60_000, Reply::new(Code::CHANGED, Body::Content(long.as_bytes())), (None, ""));
    }
}
