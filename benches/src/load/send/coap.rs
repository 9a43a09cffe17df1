//! A client of CoAP (RFC 7252): confirmable requests, sent again until they are acknowledged (section 4.2), and signed if there
//! is a key (contract section 10).
//!
//! Answers must be in acknowledgements, as this server sends them; a separate response after an empty acknowledgement is ignored.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wire::coap::{Code, JSON, Kind, Message, Writer, number};

use super::verdict::{Reply, Status};
use crate::load::server::place::Key;

/// Maximum number of retransmissions of a message (MAX_RETRANSMIT); after them, the request fails.
const RETRANSMISSIONS_MAX: u32 = 4;
/// Number of message ids of one port; after them, another port is opened. An id that is used again within 247 s
/// (EXCHANGE_LIFETIME) would count as a retransmission.
const IDS: u32 = 1 << 16;
/// Maximum size of a datagram, bytes; a larger request fails.
const DATAGRAM_BYTES_MAX: usize = 65_507;
const PATH: [&[u8]; 2] = [b"v1", b"events"];
/// Separator between the parts that are signed.
const SEPARATOR: [u8; 1] = [0x1F];

/// A client with a port of its own; clones share it.
#[derive(Clone)]
pub(in crate::load) struct Client {
    to: SocketAddr,
    key: Option<Arc<Key>>,
    /// ACK_TIMEOUT.
    ack_timeout: Duration,
    line: Arc<Mutex<Option<Arc<Line>>>>,
    retransmissions: Arc<AtomicU64>,
}

/// A port, and the requests that wait for answers on it.
struct Line {
    socket: Arc<UdpSocket>,
    waiting: Arc<Mutex<Waiting>>,
    reader: JoinHandle<()>,
}

struct Waiting {
    used_ids: u32,
    dice: SmallRng,
    answers: HashMap<u16, oneshot::Sender<Reply>>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Client {
    pub(in crate::load) fn new(to: SocketAddr, key: Option<&Key>, ack_timeout: Duration) -> Self {
        let key = key.cloned().map(Arc::new);
        Self { to, key, ack_timeout, line: Arc::default(), retransmissions: Arc::default() }
    }

    pub(super) fn retransmissions(&self) -> u64 {
        self.retransmissions.load(Ordering::Relaxed)
    }

    /// Sends a payload in one exchange.
    ///
    /// # Errors
    /// Why there was no answer.
    pub(super) async fn post(&self, payload: &[u8]) -> Result<Reply, String> {
        let failed = |what: &dyn std::fmt::Display| format!("coap://{}: {what}", self.to);
        let (line, id, mut answer) = self.begin().map_err(|error| failed(&error))?;
        let mut buffer = vec![0; payload.len() + 512];
        let message = self.message(&mut buffer, id, payload).ok_or_else(|| failed(&"the request fits no datagram"))?;
        let permille = line.waiting.lock().dice.random_range(0..=1_000);
        let outcome = async {
            for (sent, wait) in waits(self.ack_timeout, permille).enumerate() {
                self.retransmissions.fetch_add(u64::from(sent > 0), Ordering::Relaxed);
                line.socket.send(message).await.map_err(|error| failed(&error))?;
                // The sender is held until there is an answer, so the channel does not close before.
                if let Ok(Ok(reply)) = tokio::time::timeout(wait, &mut answer).await {
                    return Ok(reply);
                }
            }
            Err(failed(&"no acknowledgement after 4 retransmissions"))
        };
        let outcome = outcome.await;
        line.waiting.lock().answers.remove(&id);
        outcome
    }

    /// A port, a message id that the port has not used yet, and the receiver of the answer.
    fn begin(&self) -> std::io::Result<(Arc<Line>, u16, oneshot::Receiver<Reply>)> {
        let mut current = self.line.lock();
        let line = match current.as_ref().filter(|line| line.waiting.lock().used_ids < IDS) {
            Some(line) => Arc::clone(line),
            None => Arc::clone(current.insert(Arc::new(Line::open(self.to)?))),
        };
        let (reply_tx, answer) = oneshot::channel();
        let id = {
            let mut waiting = line.waiting.lock();
            let id = u16::try_from(waiting.used_ids).expect("below 65,536");
            waiting.used_ids += 1;
            waiting.answers.insert(id, reply_tx);
            id
        };
        Ok((line, id, answer))
    }

    fn message<'b>(&self, buffer: &'b mut [u8], id: u16, payload: &[u8]) -> Option<&'b [u8]> {
        let mut writer = Writer::new(buffer, Kind::Confirmable, Code::POST, id, &id.to_be_bytes());
        for segment in PATH {
            writer = writer.option(number::URI_PATH, segment);
        }
        writer = writer.uint(number::CONTENT_FORMAT, JSON);
        if let Some(key) = &self.key {
            let now =
                SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs().to_string();
            for (name, value) in [("k", key.id.as_str()), ("t", &now), ("s", &signature(key, &now, payload))] {
                writer = writer.option(number::URI_QUERY, format!("{name}={value}").as_bytes());
            }
        }
        writer.payload(payload).filter(|message| message.len() <= DATAGRAM_BYTES_MAX)
    }
}

impl Line {
    fn open(to: SocketAddr) -> std::io::Result<Self> {
        let any = if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let socket = std::net::UdpSocket::bind::<SocketAddr>(any)?;
        socket.connect(to)?;
        // Ports differ, so that not all clients retransmit at the same time.
        let dice = SmallRng::seed_from_u64(socket.local_addr()?.port().into());
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UdpSocket::from_std(socket)?);
        let waiting = Arc::new(Mutex::new(Waiting { used_ids: 0, dice, answers: HashMap::new() }));
        let reader = tokio::spawn(read(Arc::clone(&socket), Arc::clone(&waiting)));
        Ok(Self { socket, waiting, reader })
    }
}

/// Passes answers to the requests that wait for them. It ends with the line.
async fn read(socket: Arc<UdpSocket>, waiting: Arc<Mutex<Waiting>>) {
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        // An error belongs to an earlier datagram that was not received; that datagram is sent again.
        let Ok(bytes) = socket.recv(&mut buffer).await else { continue };
        let Some((id, reply)) = reply(&buffer[..bytes]) else { continue };
        let asked = waiting.lock().answers.remove(&id);
        if let Some(reply_tx) = asked {
            // A request that has timed out meanwhile is retried.
            let _ = reply_tx.send(reply);
        }
    }
}

/// The message id that a datagram answers, and the answer.
fn reply(datagram: &[u8]) -> Option<(u16, Reply)> {
    let message = Message::parse(datagram).ok()?;
    let answers = message.kind == Kind::Acknowledgement
        && message.code != Code::EMPTY
        && message.token == message.id.to_be_bytes();
    // A reset means that the server could not process the message; it counts as a failure of the server.
    let is_reset = message.kind == Kind::Reset && message.code == Code::EMPTY;
    if !answers && !is_reset {
        return None;
    }
    let max_age = message.options().find(|option| option.number == number::MAX_AGE).and_then(|option| option.uint());
    let again_after = max_age.map(|seconds| Duration::from_secs(u64::from(seconds)));
    let status = if is_reset { Status::Broken } else { Status::Coap(message.code.0) };
    Some((message.id, Reply { status, again_after, body: message.payload.to_vec() }))
}

/// The wait after each transmission of a message: first ACK_TIMEOUT with up to half as much random extra (`permille` of a half),
/// then twice as long each time (section 4.2).
fn waits(ack_timeout: Duration, permille: u32) -> impl Iterator<Item = Duration> {
    let first = ack_timeout + ack_timeout * permille / 2_000;
    (0..=RETRANSMISSIONS_MAX).map(move |doublings| first * 2_u32.pow(doublings))
}

/// The signature of a request (contract section 10).
fn signature(key: &Key, time: &str, payload: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&Sha256::digest(&key.secret)).expect("a key of any length");
    for part in [key.id.as_bytes(), &SEPARATOR, time.as_bytes(), &SEPARATOR, payload] {
        mac.update(part);
    }
    URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmissions_are_those_of_the_standard() {
        let ms = |permille| waits(Duration::from_secs(2), permille).map(|wait| wait.as_millis()).collect::<Vec<_>>();
        assert_eq!(ms(0), [2_000, 4_000, 8_000, 16_000, 32_000]);
        assert_eq!(ms(1_000), [3_000, 6_000, 12_000, 24_000, 48_000]);
    }

    /// `docs/udp.md` makes the same with openssl.
    #[test]
    fn a_signature() {
        let key = Key { id: "till".to_owned(), secret: "SECRET".to_owned() };
        let event = br#"{"id":"3","action":"visit","shopper":"u1"}"#;
        assert_eq!(signature(&key, "1794186000", event), "nNzk_jBtmI5YILDdQV0yBw");
    }

    #[test]
    fn a_request_says_where_to_and_what() {
        let client =
            Client::new(([127, 0, 0, 1], 5_683).into(), Some(&"k1.hush".parse().expect("a key")), Duration::ZERO);
        let mut buffer = [0; 600];
        let sent = client.message(&mut buffer, 7, b"{}").expect("it fits");
        let message = Message::parse(sent).expect("a message");
        assert_eq!((message.kind, message.code, message.id), (Kind::Confirmable, Code::POST, 7));
        assert!(message.path_is(&["v1", "events"]) && message.content_format() == Some(JSON));
        assert_eq!(message.query("k"), Some(&b"k1"[..]));
        assert_eq!(message.query("s").map(<[u8]>::len), Some(22));
        assert_eq!(message.payload, b"{}");
        assert!(client.message(&mut [0; 10], 7, b"{}").is_none());
    }

    #[test]
    fn an_acknowledgement_with_the_token_or_a_reset_is_an_answer() {
        let message = |kind, code, token: &[u8]| {
            let mut buffer = [0; 20];
            let writer = Writer::new(&mut buffer, kind, code, 0x0102, token);
            let sent = if code == Code::EMPTY { writer } else { writer.uint(number::MAX_AGE, 300) }.payload(&[]);
            reply(sent.expect("it fits")).map(|(id, reply)| (id, reply.status, reply.again_after))
        };
        let after = Some(Duration::from_secs(300));
        let shed = message(Kind::Acknowledgement, Code::UNAVAILABLE, &[1, 2]);
        assert_eq!(shed, Some((0x0102, Status::Coap(Code::UNAVAILABLE.0), after)));
        assert_eq!(message(Kind::Reset, Code::EMPTY, &[]), Some((0x0102, Status::Broken, None)));
        assert_eq!(message(Kind::Acknowledgement, Code::UNAVAILABLE, &[1, 3]), None, "another request's token");
        assert_eq!(message(Kind::Acknowledgement, Code::EMPTY, &[]), None);
        assert_eq!(message(Kind::Confirmable, Code::CHANGED, &[1, 2]), None);
    }

    #[tokio::test]
    async fn when_a_port_has_used_its_ids_there_is_another() {
        let client = Client::new(([127, 0, 0, 1], 5_683).into(), None, Duration::ZERO);
        let port = |line: &Line| line.socket.local_addr().expect("an address").port();
        let (first, id, _) = client.begin().expect("a port");
        assert_eq!((id, client.begin().map(|(line, id, _)| (port(&line), id)).ok()), (0, Some((port(&first), 1))));
        first.waiting.lock().used_ids = IDS - 1;
        assert_eq!(client.begin().map(|(line, id, _)| (port(&line), id)).ok(), Some((port(&first), u16::MAX)));
        let (second, id, _) = client.begin().expect("a port");
        assert_eq!(id, 0);
        assert_ne!(port(&second), port(&first));
    }
}
