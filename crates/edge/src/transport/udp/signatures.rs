//! Signatures that were received before, and the answers to their requests (contract section 10).
//!
//! A signed datagram can be copied and sent again from anywhere, under another message id. It must not cost its signer's
//! quota: it gets the first answer again, and nothing of it is read. All sockets of a process share the table; another edge's
//! are not known here, and there the desks remove the events as duplicates.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use wire::coap::Code;

use super::reply::{Body, Format, Reply, Signature};

/// Maximum difference between a signer's clock and ours, in seconds; a message beyond it is refused.
pub(super) const TIME_OFF_MAX_S: u64 = 5 * 60;
/// Time for which a signature is remembered: as long as the time in it can be near enough. Both clocks are cut to whole seconds.
const LIFETIME: Duration = Duration::from_secs(2 * TIME_OFF_MAX_S + 2);
/// Maximum number of remembered signatures; beyond it the oldest are forgotten, and cost quota if they come again.
const SIGNATURES_MAX: usize = 262_144;
/// Maximum number of bytes of all remembered contents; beyond it the oldest signatures are forgotten.
const CONTENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is known of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    New,
    /// It was received before and is not answered yet.
    InFlight,
    Answered(FirstAnswer),
}

/// The answer that a signature's first request got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FirstAnswer {
    code: Code,
    size1: Option<u32>,
    /// The format of its content.
    pub(super) format: Format,
    content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Nothing,
    Diagnostic(Box<str>),
    Bytes(Box<[u8]>),
}

impl FirstAnswer {
    fn of(format: Format, reply: Reply<'_>) -> Self {
        let content = match reply.body {
            Body::Nothing => Content::Nothing,
            Body::Diagnostic(text) => Content::Diagnostic(text.into()),
            Body::Content(content) => Content::Bytes(content.into()),
        };
        Self { code: reply.code, size1: reply.size1, format, content }
    }

    pub(super) fn reply(&self) -> Reply<'_> {
        let body = match &self.content {
            Content::Nothing => Body::Nothing,
            Content::Diagnostic(text) => Body::Diagnostic(text),
            Content::Bytes(content) => Body::Content(content),
        };
        Reply { size1: self.size1, ..Reply::new(self.code, body) }
    }

    fn bytes(&self) -> usize {
        match &self.content {
            Content::Nothing => 0,
            Content::Diagnostic(text) => text.len(),
            Content::Bytes(content) => content.len(),
        }
    }
}

#[derive(Debug)]
struct Known {
    /// Whether the request was refused and its sender may send it again as it is.
    is_refused: bool,
    /// `None` while the request is in flight.
    answer: Option<FirstAnswer>,
}

/// The signatures that were received before.
#[derive(Debug, Default)]
pub struct Signatures(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    known: HashMap<Signature, Known>,
    /// In the order in which they came.
    order: VecDeque<(Instant, Signature)>,
    content_bytes: usize,
}

impl Signatures {
    /// Looks a signature up, and remembers it from now on.
    pub(super) fn begin(&self, signature: Signature, now: Instant) -> Seen {
        let mut table = self.0.lock();
        table.sweep(now);
        match table.known.get_mut(&signature) {
            Some(Known { answer: Some(answer), .. }) => Seen::Answered(answer.clone()),
            Some(known) if known.is_refused => {
                known.is_refused = false;
                Seen::New
            }
            Some(_) => Seen::InFlight,
            None => {
                table.known.insert(signature, Known { is_refused: false, answer: None });
                table.order.push_back((now, signature));
                Seen::New
            }
        }
    }

    /// Remembers the answer to the first request of a signature. A request that was refused with a time to wait may be sent again; it
    /// keeps its place, so that refused requests push no other out.
    pub(super) fn end(&self, signature: &Signature, format: Format, reply: Reply<'_>) {
        let mut table = self.0.lock();
        let answer = FirstAnswer::of(format, reply);
        if let Some(known) = table.known.get_mut(signature).filter(|known| known.answer.is_none()) {
            if reply.max_age_s.is_some() {
                known.is_refused = true;
                return;
            }
            let bytes = answer.bytes();
            known.answer = Some(answer);
            table.content_bytes += bytes;
        }
    }
}

impl Table {
    /// Forgets expired signatures, and the oldest ones beyond the limits.
    fn sweep(&mut self, now: Instant) {
        while let Some(&(began, signature)) = self.order.front() {
            let fits = self.order.len() < SIGNATURES_MAX && self.content_bytes <= CONTENT_BYTES_MAX;
            if fits && now.saturating_duration_since(began) < LIFETIME {
                return;
            }
            self.order.pop_front();
            if let Some(known) = self.known.remove(&signature) {
                self.content_bytes -= known.answer.map_or(0, |answer| answer.bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(n: u32) -> Signature {
        let mut signature = [b'A'; 22];
        signature[..4].copy_from_slice(&n.to_be_bytes());
        signature
    }

    #[test]
    fn signature_gets_its_first_answer_for_its_lifetime() {
        let signatures = Signatures::default();
        let began = Instant::now();
        assert_eq!(signatures.begin(signature(1), began), Seen::New);
        assert_eq!(signatures.begin(signature(1), began), Seen::InFlight);
        let first = Reply::new(Code::CHANGED, Body::Content(b"{}"));
        signatures.end(&signature(1), Format::Cbor, first);
        signatures.end(&signature(1), Format::Json, Reply::new(Code::BAD_REQUEST, Body::Nothing));
        let last = began + LIFETIME - Duration::from_nanos(1);
        assert_eq!(signatures.begin(signature(1), last), Seen::Answered(FirstAnswer::of(Format::Cbor, first)));
        assert_eq!(signatures.begin(signature(2), last), Seen::New);
        assert_eq!(signatures.begin(signature(1), began + LIFETIME), Seen::New);
    }

    #[test]
    fn request_refused_for_now_may_come_again() {
        let signatures = Signatures::default();
        let began = Instant::now();
        let later = Reply { max_age_s: Some(5), ..Reply::new(Code::UNAVAILABLE, Body::Diagnostic("full")) };
        for _ in 0..3 {
            assert_eq!(signatures.begin(signature(1), began), Seen::New);
            signatures.end(&signature(1), Format::Json, later);
        }
        let table = signatures.0.lock();
        assert!(table.known.len() == 1 && table.order.len() == 1 && table.content_bytes == 0);
    }

    #[test]
    fn remembered_signatures_are_limited() {
        let signatures = Signatures::default();
        let began = Instant::now();
        let content = [b'x'; 100];
        for n in 0..u32::try_from(SIGNATURES_MAX).expect("small") + 1_000 {
            assert_eq!(signatures.begin(signature(n), began), Seen::New);
            signatures.end(&signature(n), Format::Json, Reply::new(Code::CHANGED, Body::Content(&content)));
        }
        let mut table = signatures.0.lock();
        assert!(table.known.len() <= SIGNATURES_MAX && table.order.len() <= SIGNATURES_MAX);
        assert!(table.content_bytes <= CONTENT_BYTES_MAX + content.len());
        table.sweep(began + LIFETIME);
        assert!(table.known.is_empty() && table.order.is_empty() && table.content_bytes == 0);
    }
}
