//! Events in datagrams, from outside: which are answered and which never are, and that every event counts once.
//!
//! - `answers`: datagrams and their answers
//! - `field`: bytes as devices send them
//! - `keys`: signatures and trusted networks
//! - `clients`: clients of other projects
//! - `lossy`, `load`: lost datagrams, and many of them
//! - `fleet`: the edge of a fleet

mod answers;
mod clients;
mod field;
mod fleet;
mod keys;
mod load;
mod lossy;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use wire::coap::{Code, JSON, Kind, Message, Writer, number};

use crate::program::done;
use crate::serve::server::{Server, get};

/// Maximum time of every wait in these tests; beyond it the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn until(mut holds: impl FnMut() -> bool, what: &str) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A client that sends datagrams.
struct Client(UdpSocket);

/// An answer, as much of it as tests look at.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    bytes: Vec<u8>,
    kind: Kind,
    code: String,
    id: u16,
    token: Vec<u8>,
    max_age: Option<u32>,
    size1: Option<u32>,
    is_json: bool,
    payload: String,
}

impl Client {
    fn to(server: &Server) -> Self {
        Self::from("127.0.0.1", server.udp.expect("--udp was given"))
    }

    /// From another address of this machine.
    fn from(own: &str, to: SocketAddr) -> Self {
        let socket = UdpSocket::bind((own, 0)).expect("a port");
        socket.connect(to).expect("an address");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(socket)
    }

    fn send(&self, datagram: &[u8]) {
        assert_eq!(self.0.send(datagram).expect("it is sent"), datagram.len());
    }

    fn answer(&self) -> Answer {
        let mut buffer = [0; 65_535];
        let bytes = self.0.recv(&mut buffer).expect("an answer");
        Answer::of(&buffer[..bytes])
    }

    /// Sends a request and waits for its answer, which must not be larger.
    fn ask(&self, request: &[u8]) -> Answer {
        self.send(request);
        let answer = self.answer();
        assert!(answer.bytes.len() <= request.len(), "{answer:?} is larger than {} bytes", request.len());
        answer
    }

    /// Whether there is an answer now.
    fn has_answer(&self) -> bool {
        self.0.set_nonblocking(true).expect("a mode");
        let peeked = self.0.peek(&mut [0; 16]);
        self.0.set_nonblocking(false).expect("a mode");
        !matches!(peeked, Err(e) if e.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Answer {
    fn of(bytes: &[u8]) -> Self {
        let message = Message::parse(bytes).expect("a message");
        let uint = |number| message.options().find(|option| option.number == number).and_then(|option| option.uint());
        Self {
            bytes: bytes.to_vec(),
            kind: message.kind,
            code: message.code.to_string(),
            id: message.id,
            token: message.token.to_vec(),
            max_age: uint(number::MAX_AGE),
            size1: uint(number::SIZE1),
            is_json: message.content_format() == Some(JSON),
            payload: String::from_utf8(message.payload.to_vec()).expect("UTF-8"),
        }
    }
}

/// A request to `/v1/events` with these arguments, without a Content-Format.
fn request(kind: Kind, id: u16, arguments: &[&str], payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; payload.len() + 600];
    let mut writer = Writer::new(&mut buffer, kind, Code::POST, id, &id.to_be_bytes());
    for segment in ["v1", "events"] {
        writer = writer.option(number::URI_PATH, segment.as_bytes());
    }
    for argument in arguments {
        writer = writer.option(number::URI_QUERY, argument.as_bytes());
    }
    writer.payload(payload).expect("room").to_vec()
}

fn con(id: u16, payload: &str) -> Vec<u8> {
    request(Kind::Confirmable, id, &[], payload.as_bytes())
}

fn visit(id: &str) -> String {
    format!("{{\"id\":\"{id}\",\"action\":\"visit\",\"shopper\":\"u1\"}}")
}

/// The sum of all series of a metric.
fn sum(server: &Server, name: &str) -> u64 {
    let text = get(&format!("{}/metrics", server.admin), None).expect("metrics").body;
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.split_once(' ')?;
        let is_it = series == name || series.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'));
        is_it.then(|| value.parse::<u64>().expect("an integer"))
    });
    values.sum()
}

fn accepted(server: &Server) -> u64 {
    server.metric("mashang_events_accepted_total{transport=\"udp\"}")
}

fn refused(server: &Server, reason: &str) -> u64 {
    server.metric(&format!("mashang_udp_refused_total{{reason=\"{reason}\"}}"))
}

/// Everything that came has become something.
fn adds_up(server: &Server) {
    let of = |name: &str| sum(server, &format!("mashang_events_{name}_total"));
    until(|| of("received") == of("accepted") + of("rejected") + of("shed"), "received = accepted + rejected + shed");
}

/// The ids of everything that was accepted, sorted.
fn ids(dir: &Path) -> Vec<String> {
    let dump = done(dir, &["log", "dump", "--data", "data"]);
    let id = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
        event["id"].as_str().expect("an id").to_owned()
    };
    let mut ids: Vec<String> = dump.lines().map(id).collect();
    ids.sort();
    ids
}

const UDP: [&str; 2] = ["--udp", "127.0.0.1:0"];
