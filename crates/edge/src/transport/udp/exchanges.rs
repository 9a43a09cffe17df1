//! Requests that were received before, and their answers (RFC 7252, sections 4.2 and 4.5).
//!
//! A retransmission is the same message, byte for byte. A sender that uses a message id again for another message, earlier than
//! the RFC allows, has sent a new request: the answer to the earlier one would be false.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Time for which a request is remembered (EXCHANGE_LIFETIME); the same message later is a new request.
const LIFETIME: Duration = Duration::from_secs(247);
/// Maximum number of remembered exchanges; beyond it the oldest are forgotten. Their events still count once: they have ids.
const EXCHANGES_MAX: usize = 65_536;
/// Maximum number of bytes of all remembered answers; beyond it the oldest exchanges are forgotten.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Maximum number of requests of a sender in flight; further requests are refused.
const IN_FLIGHT_MAX: usize = 256;

/// Identifies an exchange: the sender, its message id, and the fingerprint of the whole message.
pub(super) type Key = (SocketAddr, u16, u64);

/// Computes fingerprints of whole messages: token, options and payload. They depend on a secret of this process, so that no
/// sender can find two messages with the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Fingerprints(RandomState);

impl Fingerprints {
    pub(super) fn key(&self, from: SocketAddr, id: u16, datagram: &[u8]) -> Key {
        (from, id, self.0.hash_one(datagram))
    }
}

/// What is to be done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Begun<'a> {
    New,
    /// It is new, and its sender has too many in flight.
    TooMany,
    /// It was received before and is not answered yet.
    InFlight,
    /// It was answered with these bytes.
    Answered(&'a [u8]),
}

#[derive(Debug)]
struct Exchange {
    began: Instant,
    /// `None` while the request is in flight.
    answer: Option<Box<[u8]>>,
}

/// The exchanges of one socket.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    known: HashMap<Key, Exchange>,
    /// In the order in which they began.
    order: VecDeque<(Instant, Key)>,
    in_flight: HashMap<SocketAddr, usize>,
    answer_bytes: usize,
}

impl Exchanges {
    /// Begins an exchange, unless it is known.
    pub(super) fn begin(&mut self, key: Key, now: Instant) -> Begun<'_> {
        self.forget(now);
        if self.known.contains_key(&key) {
            return match &self.known[&key].answer {
                Some(answer) => Begun::Answered(answer),
                None => Begun::InFlight,
            };
        }
        self.known.insert(key, Exchange { began: now, answer: None });
        self.order.push_back((now, key));
        let in_flight = self.in_flight.entry(key.0).or_default();
        *in_flight += 1;
        if *in_flight > IN_FLIGHT_MAX { Begun::TooMany } else { Begun::New }
    }

    /// Remembers the answer of an exchange that began then.
    pub(super) fn end(&mut self, key: Key, began: Instant, answer: &[u8]) {
        let Some(exchange) = self.known.get_mut(&key).filter(|exchange| exchange.began == began) else { return };
        if exchange.answer.is_none() {
            exchange.answer = Some(answer.into());
            self.answer_bytes += answer.len();
            self.end_one(key.0);
        }
    }

    /// Forgets an exchange that began then and gets no answer: the same message later is a new request. Its place in the order stays.
    pub(super) fn cancel(&mut self, key: Key, began: Instant) {
        if self.known.get(&key).is_some_and(|exchange| exchange.began == began && exchange.answer.is_none()) {
            self.known.remove(&key);
            self.end_one(key.0);
        }
    }

    /// Forgets expired exchanges, and the oldest ones beyond the limits.
    fn forget(&mut self, now: Instant) {
        while let Some(&(began, key)) = self.order.front() {
            let fits = self.order.len() < EXCHANGES_MAX && self.answer_bytes <= ANSWER_BYTES_MAX;
            if fits && now.saturating_duration_since(began) < LIFETIME {
                return;
            }
            self.order.pop_front();
            // One that was cancelled and began again has a later place in the order.
            if self.known.get(&key).is_none_or(|exchange| exchange.began != began) {
                continue;
            }
            let Some(exchange) = self.known.remove(&key) else { continue };
            match exchange.answer {
                Some(answer) => self.answer_bytes -= answer.len(),
                None => self.end_one(key.0),
            }
        }
    }

    /// Counts one request less in flight of this sender.
    fn end_one(&mut self, sender: SocketAddr) {
        if let Some(in_flight) = self.in_flight.get_mut(&sender) {
            *in_flight -= 1;
            if *in_flight == 0 {
                self.in_flight.remove(&sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{ANSWER_BYTES_MAX, Begun, EXCHANGES_MAX, Exchanges, Fingerprints, IN_FLIGHT_MAX, Key, LIFETIME};

    fn key(port: u16, id: u16) -> Key {
        (([192, 0, 2, 1], port).into(), id, 0)
    }

    #[test]
    fn only_the_same_message_has_the_same_key() {
        let fingerprints = Fingerprints::default();
        let (one, two) = (([192, 0, 2, 1], 1).into(), ([192, 0, 2, 1], 2).into());
        let key = fingerprints.key(one, 1, b"message");
        assert_eq!(fingerprints.key(one, 1, b"message"), key);
        assert_ne!(fingerprints.key(one, 1, b"massage"), key);
        assert_ne!(fingerprints.key(one, 1, b"message\0"), key);
        assert_ne!(fingerprints.key(two, 1, b"message"), key);
        assert_ne!(Fingerprints::default().key(one, 1, b"message"), key, "the secret is drawn anew");
    }

    #[test]
    fn an_exchange_keeps_its_answer_for_its_lifetime() {
        let mut exchanges = Exchanges::default();
        let began = Instant::now();
        assert_eq!(exchanges.begin(key(1, 7), began), Begun::New);
        assert_eq!(exchanges.begin(key(1, 7), began + Duration::from_secs(2)), Begun::InFlight);
        assert_eq!(exchanges.begin(key(1, 8), began), Begun::New);
        assert_eq!(exchanges.begin(key(2, 7), began), Begun::New);
        exchanges.end(key(1, 7), began, b"first");
        exchanges.end(key(1, 7), began, b"second");
        let last = began + LIFETIME - Duration::from_nanos(1);
        assert_eq!(exchanges.begin(key(1, 7), last), Begun::Answered(b"first"));
        assert_eq!(exchanges.begin(key(1, 7), began + LIFETIME), Begun::New);
        // The end of the exchange before is not that of this one.
        exchanges.end(key(1, 7), began, b"first");
        assert_eq!(exchanges.begin(key(1, 7), began + LIFETIME), Begun::InFlight);
        assert_eq!(exchanges.known.len(), 1);
    }

    #[test]
    fn one_message_id_in_flight_twice_has_two_answers() {
        let mut exchanges = Exchanges::default();
        let now = Instant::now();
        let [one, two] = [1, 2].map(|fingerprint| (([192, 0, 2, 1], 1).into(), 7, fingerprint));
        assert_eq!(exchanges.begin(one, now), Begun::New);
        assert_eq!(exchanges.begin(two, now), Begun::New);
        exchanges.end(two, now, b"second");
        assert_eq!(exchanges.begin(one, now), Begun::InFlight);
        assert_eq!(exchanges.begin(two, now), Begun::Answered(b"second"));
        exchanges.end(one, now, b"first");
        assert_eq!(exchanges.begin(one, now), Begun::Answered(b"first"));
        assert!(exchanges.in_flight.is_empty());
    }

    /// A sender that uses one message id for everything has the same limit as any other.
    #[test]
    fn one_message_id_for_many_requests_is_limited() {
        let mut exchanges = Exchanges::default();
        let now = Instant::now();
        for fingerprint in 0..2 * EXCHANGES_MAX as u64 {
            let begun = exchanges.begin((([192, 0, 2, 1], 1).into(), 7, fingerprint), now);
            assert_eq!(begun, if fingerprint < IN_FLIGHT_MAX as u64 { Begun::New } else { Begun::TooMany });
            assert!(exchanges.known.len() <= EXCHANGES_MAX && exchanges.order.len() == exchanges.known.len());
        }
        assert_eq!(exchanges.in_flight.len(), 1);
    }

    #[test]
    fn requests_in_flight_per_sender_are_limited() {
        let mut exchanges = Exchanges::default();
        let now = Instant::now();
        let most = u16::try_from(IN_FLIGHT_MAX).expect("small");
        (0..most).for_each(|id| assert_eq!(exchanges.begin(key(1, id), now), Begun::New));
        assert_eq!(exchanges.begin(key(1, most), now), Begun::TooMany);
        assert_eq!(exchanges.begin(key(2, 0), now), Begun::New);
        exchanges.end(key(1, most), now, b"too many");
        exchanges.end(key(1, 0), now, b"done");
        assert_eq!(exchanges.begin(key(1, most + 1), now), Begun::New);
        exchanges.forget(now + LIFETIME);
        assert!(exchanges.known.is_empty() && exchanges.in_flight.is_empty() && exchanges.answer_bytes == 0);
    }

    #[test]
    fn cancelled_exchange_is_new_again() {
        let mut exchanges = Exchanges::default();
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        assert_eq!(exchanges.begin(key(1, 7), now), Begun::New);
        exchanges.cancel(key(1, 7), now);
        exchanges.cancel(key(1, 7), now);
        assert!(exchanges.in_flight.is_empty());
        assert_eq!(exchanges.begin(key(1, 7), later), Begun::New);
        exchanges.cancel(key(1, 7), now);
        exchanges.forget(now + LIFETIME);
        exchanges.end(key(1, 7), later, b"answer");
        exchanges.cancel(key(1, 7), later);
        assert_eq!(exchanges.begin(key(1, 7), later), Begun::Answered(b"answer"));
        exchanges.forget(later + LIFETIME);
        assert!(exchanges.known.is_empty() && exchanges.order.is_empty() && exchanges.answer_bytes == 0);
    }

    #[test]
    fn remembered_exchanges_are_limited() {
        let mut exchanges = Exchanges::default();
        let now = Instant::now();
        let answer = [0; 1_000];
        let all = || (0..3_u16).flat_map(|port| (0..=u16::MAX).map(move |id| key(port, id)));
        for key in all() {
            exchanges.begin(key, now);
            exchanges.end(key, now, &answer[..usize::from(key.1 % 300)]);
            assert!(exchanges.known.len() <= EXCHANGES_MAX && exchanges.order.len() == exchanges.known.len());
            assert!(exchanges.answer_bytes <= ANSWER_BYTES_MAX + answer.len());
        }
        for key in all() {
            exchanges.begin(key, now);
        }
        assert!(exchanges.known.len() <= EXCHANGES_MAX && exchanges.in_flight.len() <= 3);
    }
}
