//! The thread of a socket: one receive's datagrams become one batch of events, and are answered, if at all, once it is durable.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eventlog::api::{AppendError, now_ms};
use serde::Serialize;
use tracing::warn;
use wire::batch::{self, ELEMENTS_MAX};
use wire::coap::{Code, JSON, Kind, Message, number};
use wire::datagram;

use super::exchanges::{Begun, Exchanges, Fingerprints};
use super::reply::{Body, Format, REPLY_BYTES_MAX, Reply, Request};
use super::socket::{Inbox, Socket, is_nothing};
use crate::ingest::batcher::Batcher;
use crate::ingest::body_reader::{Answer, Body as ReadBody, Reading, Row, Sender, Shape};
use crate::ingest::memory::MemoryPermit;
use crate::ingest::service::IngestService;
use crate::metrics::{DatagramReject, Shed, Transport};
use crate::spool::Durable;
use web::auth::{Grant, Scope, Signed, Unsigned};
use web::networks::Trust;

/// Maximum difference between a signer's clock and ours, in seconds; a message beyond it is refused.
const TIME_OFF_MAX_S: u64 = 5 * 60;
/// Maximum number of receives at the end, for datagrams that were sent before it; further datagrams are dropped.
const LAST_BATCHES_MAX: usize = 1_000;
/// Time after which a failed receive is tried again.
const RECEIVE_PAUSE: Duration = Duration::from_millis(50);
/// Maximum number of bytes of a body that cannot have too many events: the shortest event has one byte, and one separates two.
const BODY_BYTES_SAFE: u32 = 20_000;
const _: () = assert!(BODY_BYTES_SAFE as usize == 2 * ELEMENTS_MAX, "no body of that size has more events");
/// The path that events are sent to.
const PATH: [&str; 2] = ["v1", "events"];

/// The parts of a socket's thread.
#[derive(Debug)]
pub struct Receiver {
    number: usize,
    line: Arc<Line>,
    door: Arc<IngestService>,
    trust: Arc<Trust>,
    fingerprints: Fingerprints,
    /// All rights, for the merchants that are served.
    everyone: Grant,
}

/// The parts that answers need.
#[derive(Debug)]
struct Line {
    socket: Socket,
    exchanges: Mutex<Exchanges>,
}

/// A request that is answered when its batch of events is durable.
#[derive(Debug)]
struct Waiting {
    request: Request,
    began: Instant,
    /// The report if not all of it was accepted; else empty.
    told: Vec<u8>,
}

/// The datagrams of one receive.
struct Batch<'d> {
    reading: Reading<'d>,
    room: MemoryPermit,
    bytes: usize,
    waiting: Vec<Waiting>,
    now: Instant,
}

impl Batch<'_> {
    /// Takes memory for a body; `false` if there is not enough.
    fn hold(&mut self, body_bytes: usize) -> bool {
        let fits = self.room.hold(self.bytes + body_bytes);
        if fits {
            self.bytes += body_bytes;
        }
        fits
    }

    /// Keeps the request, if its sender asked for an answer, until the batch of events is durable.
    fn wait(&mut self, answer: &Answer, request: Option<Request>) {
        if let Some(request) = request {
            self.waiting.push(Waiting { told: told(answer, &request), request, began: self.now });
        }
    }
}

/// Why a request is refused, and what is reported to its sender if it asked for an answer.
struct Wrong {
    unfit: DatagramReject,
    code: Code,
    says: &'static str,
}

impl Receiver {
    /// A receiver for the socket of this number, of an ingest service.
    #[must_use]
    pub fn new(number: usize, socket: Socket, door: Arc<IngestService>, trust: Arc<Trust>) -> Self {
        let line = Arc::new(Line { socket, exchanges: Mutex::default() });
        Self { number, line, door, trust, fingerprints: Fingerprints::default(), everyone: Grant::everything() }
    }

    /// Receives until it is asked to stop; then it also takes what is in the socket already.
    pub fn run(self, stop: &AtomicBool) {
        // It holds pointers of the kernel and so stays on this thread.
        let mut inbox = Inbox::new();
        let mut drops = 0;
        while !stop.load(Ordering::Acquire) {
            match inbox.receive(&self.line.socket, true) {
                Ok(()) => self.batch(&inbox),
                Err(error) if is_nothing(&error) => {}
                Err(error) => {
                    warn!(%error, "a datagram was not received");
                    std::thread::sleep(RECEIVE_PAUSE);
                }
            }
            self.door.metrics.udp.kernel_drops.inc_by(u64::from(inbox.drops().wrapping_sub(drops)));
            drops = inbox.drops();
        }
        for _ in 0..LAST_BATCHES_MAX {
            if inbox.receive(&self.line.socket, false).is_err() {
                break;
            }
            self.batch(&inbox);
        }
    }

    fn batch(&self, inbox: &Inbox) {
        self.door.metrics.udp.datagrams.inc_by(inbox.len() as u64);
        let merchants = self.door.served.merchants();
        let everyone = Sender { grant: &self.everyone, merchants: &merchants };
        let mut batch = self.open(Instant::now());
        for (datagram, from) in inbox.datagrams() {
            match datagram::json(datagram) {
                Some(text) => self.json(&mut batch, (datagram.len(), text), from, everyone),
                None => self.coap(&mut batch, datagram, from, everyone),
            }
        }
        self.close(batch);
    }

    fn intake(&self) -> &Batcher {
        &self.door.intakes[self.number % self.door.intakes.len()]
    }

    fn open(&self, now: Instant) -> Batch<'_> {
        let metrics = &self.door.metrics;
        Batch {
            reading: Reading::new(metrics, &self.door.hot, self.intake(), Transport::Udp),
            room: MemoryPermit::new(&self.door.hall),
            bytes: 0,
            waiting: Vec::new(),
            now,
        }
    }

    /// Gives what was read to the batcher; the requests that wait are answered once it is durable.
    fn close(&self, batch: Batch<'_>) {
        let Batch { reading, room, waiting, .. } = batch;
        let parcel = reading.into_parcel();
        if parcel.events() == 0 {
            assert!(waiting.is_empty(), "a request that waits has sent events");
            return;
        }
        let (line, door) = (Arc::clone(&self.line), Arc::clone(&self.door));
        let told = move |result: Result<Durable, AppendError>| {
            for request in &waiting {
                line.conclude(&door, request, result);
            }
            drop(room);
        };
        self.intake().give(parcel, Box::new(told));
    }

    /// Reads events that get no answer: the text of a datagram, and the datagram's number of bytes.
    fn json(&self, batch: &mut Batch<'_>, (bytes, text): (usize, &[u8]), from: SocketAddr, everyone: Sender<'_>) {
        if !self.trust.contains(from.ip()) {
            return self.door.metrics.udp.refuse(DatagramReject::Unauthenticated);
        }
        if !batch.hold(bytes) {
            return self.busy();
        }
        if batch.reading.body(text, shape(text), everyone).is_err() {
            self.door.metrics.udp.refuse(DatagramReject::TooLarge);
        }
    }

    fn coap(&self, batch: &mut Batch<'_>, datagram: &[u8], from: SocketAddr, everyone: Sender<'_>) {
        let udp = &self.door.metrics.udp;
        let is_trusted = self.trust.contains(from.ip());
        let Ok(message) = Message::parse(datagram) else {
            self.reset(datagram, from, is_trusted);
            return udp.refuse(DatagramReject::Malformed);
        };
        let asks = matches!(message.kind, Kind::Confirmable | Kind::NonConfirmable);
        if !asks || message.code.class() != 0 || message.code == Code::EMPTY {
            self.reset(datagram, from, is_trusted);
            return udp.refuse(if is_trusted { DatagramReject::Unexpected } else { DatagramReject::Unauthenticated });
        }
        let grant = self.grant(&message, is_trusted);
        if let Err(Wrong { unfit: DatagramReject::Unauthenticated, .. }) = grant
            && !is_trusted
        {
            return udp.refuse(DatagramReject::Unauthenticated);
        }
        // From here on the sender may get an answer.
        let key = || self.fingerprints.key(from, message.id, datagram);
        let is_confirmable = message.kind == Kind::Confirmable;
        let request = is_confirmable.then(|| Request::new(&message, key(), datagram.len()));
        if let Some(request) = &request {
            let mut exchanges = self.line.exchanges();
            match exchanges.begin(request.key, batch.now) {
                Begun::New => {}
                Begun::TooMany => {
                    // To answer means to lock the exchanges again.
                    drop(exchanges);
                    self.busy();
                    let says = Body::Diagnostic("too many of your requests are in flight; send fewer at a time");
                    let reply = Reply { max_age_s: Some(1), ..Reply::new(Code::TOO_MANY_REQUESTS, says) };
                    return self.line.answer(&self.door, request, batch.now, reply);
                }
                Begun::UnderWay => return udp.retransmissions.inc(),
                Begun::Answered(answer) => {
                    udp.retransmissions.inc();
                    udp.answers.with_label_values(&[&Code(answer[1]).to_string()]).inc();
                    return self.line.socket.send(answer, from);
                }
            }
        }
        let wrong = match grant.and_then(|grant| fits(&message).map(|()| grant)) {
            Ok(None) => return self.take(batch, &message, everyone, request),
            Ok(Some(grant)) => return self.take_signed(batch.now, &message, &grant, request),
            Err(wrong) => wrong,
        };
        udp.refuse(wrong.unfit);
        self.say(request.as_ref(), batch.now, Reply::new(wrong.code, Body::Diagnostic(wrong.says)));
    }

    /// The grant of the sender of a request; `None` is everything.
    fn grant(&self, message: &Message<'_>, is_trusted: bool) -> Result<Option<Grant>, Wrong> {
        let unauthenticated = |says| Wrong { unfit: DatagramReject::Unauthenticated, code: Code::UNAUTHORIZED, says };
        let [key, time, signature] = ["k", "t", "s"].map(|name| message.query(name));
        let Some(keys) = self.door.keys.as_ref().filter(|_| [key, time, signature] != [None; 3]) else {
            return if is_trusted { Ok(None) } else { Err(unauthenticated("")) };
        };
        let (Some(key), Some(time), Some(signature)) = (key.and_then(text), time.and_then(text), signature) else {
            return Err(unauthenticated("a signature wants k=, t= and s="));
        };
        let now_s = u64::try_from(now_ms() / 1000).unwrap_or(0);
        let is_near = time.parse::<u64>().is_ok_and(|time| time.abs_diff(now_s) <= TIME_OFF_MAX_S);
        if !is_near {
            return Err(unauthenticated("t is more than 5 minutes off, or no time in seconds"));
        }
        let signed = Signed { key, time, signature, payload: message.payload };
        let forbidden = |says| Wrong { unfit: DatagramReject::Forbidden, code: Code::FORBIDDEN, says };
        let grant = keys.signed(signed, Scope::Ingest).map_err(|unsigned| match unsigned {
            Unsigned::Wrong => unauthenticated("the key is not known, or the signature is not right"),
            Unsigned::Scope => forbidden("the key has no scope ingest"),
        })?;
        if grant.is_for_nobody(&self.door.served) {
            return Err(forbidden("the key is of no merchant that is served here"));
        }
        Ok(Some(grant))
    }

    /// Takes the events of a request whose sender has a key, as a batch of their own: beyond a quota all are refused.
    fn take_signed(&self, now: Instant, message: &Message<'_>, grant: &Grant, request: Option<Request>) {
        if let Err(wait) = grant.check_quota(now) {
            self.door.metrics.received.inc();
            self.door.metrics.shed(Shed::Quota, 1);
            return self.say(
                request.as_ref(),
                now,
                enough("the quota of the key is used up; send it again later", wait),
            );
        }
        let own = grant.merchants(&self.door.served);
        let mut batch = self.open(now);
        let Some(body) = self.read(&mut batch, message, Sender { grant, merchants: &own }, request.as_ref()) else {
            return;
        };
        let events = body.answer.accepted;
        if let Err((_, wait)) = grant.take_quotas(now, events, &body.of_merchants) {
            self.door.metrics.shed(Shed::Quota, events);
            let reply = enough("the quota of the merchant is used up; send it again later", wait);
            return self.say(request.as_ref(), now, reply);
        }
        batch.wait(&body.answer, request);
        self.close(batch);
    }

    /// Takes the events of a request.
    fn take(&self, batch: &mut Batch<'_>, message: &Message<'_>, sender: Sender<'_>, request: Option<Request>) {
        if let Some(body) = self.read(batch, message, sender, request.as_ref()) {
            batch.wait(&body.answer, request);
        }
    }

    /// Reads the events of a request; if there are none to take, answers it at once.
    fn read<'s>(
        &self,
        batch: &mut Batch<'_>,
        message: &Message<'_>,
        sender: Sender<'s>,
        request: Option<&Request>,
    ) -> Option<ReadBody<'s>> {
        if !batch.hold(message.payload.len()) {
            self.busy();
            let soon = 1 + now_ms().unsigned_abs() as u32 % 3;
            self.say(request, batch.now, busy("too many bytes are in flight; send it again", soon));
            return None;
        }
        let text = datagram::text(message.payload);
        let Ok(body) = batch.reading.body(text, shape(text), sender) else {
            self.door.metrics.udp.refuse(DatagramReject::TooLarge);
            let says = Body::Diagnostic("too many events; send several requests");
            let reply = Reply { size1: Some(BODY_BYTES_SAFE), ..Reply::new(Code::TOO_LARGE, says) };
            self.say(request, batch.now, reply);
            return None;
        };
        if body.answer.accepted == 0 {
            let says = body.answer.first_error();
            let reply = match body.answer.turned_away {
                0 => Reply::new(Code::BAD_REQUEST, Body::Diagnostic(says)),
                _ => enough(says, Duration::ZERO),
            };
            self.say(request, batch.now, reply);
            return None;
        }
        Some(body)
    }

    /// Rejects a message that is no request, if its sender waits for that and is trusted: a ping, or a confirmable message that
    /// is malformed or of a class other than requests (RFC 7252, sections 4.2 and 4.3).
    fn reset(&self, datagram: &[u8], from: SocketAddr, is_trusted: bool) {
        if let Some(id) = Message::confirmable_id(datagram).filter(|_| is_trusted) {
            let [high, low] = id.to_be_bytes();
            self.line.socket.send(&[1 << 6 | (Kind::Reset as u8) << 4, 0, high, low], from);
        }
    }

    /// Answers the sender, if it asked for an answer.
    fn say(&self, request: Option<&Request>, began: Instant, reply: Reply<'_>) {
        if let Some(request) = request {
            self.line.answer(&self.door, request, began, reply);
        }
    }

    /// Refuses a datagram that was not read; it counts as one event.
    fn busy(&self) {
        self.door.metrics.received.inc();
        self.door.metrics.shed(Shed::Busy, 1);
    }
}

impl Line {
    fn exchanges(&self) -> MutexGuard<'_, Exchanges> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request that waited for its batch of events.
    fn conclude(&self, door: &IngestService, waiting: &Waiting, result: Result<Durable, AppendError>) {
        let reply = match result {
            Ok(_) if waiting.told.is_empty() => Reply::new(Code::CHANGED, Body::Nothing),
            Ok(_) => Reply::new(Code::CHANGED, Body::Content(&waiting.told)),
            Err(AppendError::Full) => busy("the log has no room; send it again", 5),
            Err(AppendError::TooLarge) => {
                Reply::new(Code::TOO_LARGE, Body::Diagnostic("an event is larger than the log takes"))
            }
            Err(AppendError::Failed | AppendError::Closed) => busy("the log takes nothing now; send it again", 2),
        };
        if result.is_ok() {
            door.metrics.ack_seconds.observe(waiting.began.elapsed().as_secs_f64());
        }
        self.answer(door, &waiting.request, waiting.began, reply);
    }

    /// Answers a request whose exchange began at `began`, and remembers the answer.
    fn answer(&self, door: &IngestService, request: &Request, began: Instant, reply: Reply<'_>) {
        let mut buffer = [0; REPLY_BYTES_MAX];
        let answer = request.answer(reply, &mut buffer);
        self.exchanges().end(request.key, began, answer);
        door.metrics.udp.answers.with_label_values(&[&reply.code.to_string()]).inc();
        self.socket.send(answer, request.key.0);
    }
}

/// Whether a message is a request that this path answers.
fn fits(message: &Message<'_>) -> Result<(), Wrong> {
    let wrong = |unfit, code, says| Err(Wrong { unfit, code, says });
    match message.critical_unknown() {
        Some(number::PROXY_URI | number::PROXY_SCHEME) => {
            return wrong(DatagramReject::Option, Code::PROXYING_NOT_SUPPORTED, "this is no proxy");
        }
        Some(_) => return wrong(DatagramReject::Option, Code::BAD_OPTION, "a critical option is not known here"),
        None => {}
    }
    if !message.path_is(&PATH) {
        return wrong(DatagramReject::Path, Code::NOT_FOUND, "there is only /v1/events");
    }
    if message.code != Code::POST {
        return wrong(DatagramReject::Method, Code::METHOD_NOT_ALLOWED, "only POST is taken");
    }
    if message.content_format().is_some_and(|format| format != JSON) {
        return wrong(
            DatagramReject::Format,
            Code::UNSUPPORTED_FORMAT,
            "send JSON: Content-Format 50, or none for NDJSON",
        );
    }
    if Format::of(message).is_none() {
        return wrong(DatagramReject::Format, Code::NOT_ACCEPTABLE, "answers are JSON or CBOR: Accept 50, 60, or none");
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// How a payload is divided into events. One object over several lines is JSON; several objects are NDJSON.
fn shape(payload: &[u8]) -> Shape<'static> {
    match payload.trim_ascii_start().first() {
        Some(b'[') => Shape::Json,
        _ if payload.contains(&b'\n') && batch::is_json(payload) => Shape::Json,
        _ => Shape::Ndjson,
    }
}

/// The content of an answer: as over HTTP, except where the events are durable, which is not known yet when it is written.
#[derive(Serialize)]
struct Content<'a> {
    accepted: u64,
    #[serde(skip_serializing_if = "<[Row]>::is_empty")]
    rejected: &'a [Row],
}

/// The report of a request that was accepted only in part: as over HTTP, or as much of it as fits.
fn told(answer: &Answer, request: &Request) -> Vec<u8> {
    /// Maximum number of bytes around the content: Content-Format, the payload marker, header and token.
    const AROUND: usize = 2 + 1 + 12;
    if answer.rejected.is_empty() {
        return Vec::new();
    }
    let content = |rejected| request.format.write(&Content { accepted: answer.accepted, rejected });
    let whole = content(&answer.rejected);
    let fits = whole.len() + AROUND <= REPLY_BYTES_MAX && request.takes(whole.len() + AROUND);
    if fits { whole } else { content(&[]) }
}

/// The answer to a sender whose quota is used up.
fn enough(says: &str, wait: Duration) -> Reply<'_> {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX - 1) + 1;
    Reply { max_age_s: Some(seconds), ..Reply::new(Code::TOO_MANY_REQUESTS, Body::Diagnostic(says)) }
}

fn busy(says: &str, max_age_s: u32) -> Reply<'_> {
    Reply { max_age_s: Some(max_age_s), ..Reply::new(Code::UNAVAILABLE, Body::Diagnostic(says)) }
}
