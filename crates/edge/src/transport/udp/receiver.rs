//! The thread of a socket: one receive's datagrams become one batch of events, and are answered, if at all, once it is durable.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eventlog::api::{AppendError, now_ms};
use tracing::warn;
use web::auth::{Grant, Scope, SignatureError, Signed};
use web::networks::Trust;
use wire::batch::{self, ELEMENTS_MAX};
use wire::coap::{Code, Kind, Message};
use wire::datagram;

use super::exchanges::{Begun, Fingerprints};
use super::refusal::{Refusal, check};
use super::reply::{Body, Reply, Request, Signature};
use super::responder::{PendingRequest, Responder, busy, too_many_requests};
use super::signatures::{Seen, Signatures, TIME_OFF_MAX_S};
use super::socket::{Inbox, Socket, is_nothing};
use crate::ingest::batcher::Batcher;
use crate::ingest::body_reader::{Answer, Body as ReadBody, Reading, Sender, Shape};
use crate::ingest::memory::MemoryPermit;
use crate::ingest::service::IngestService;
use crate::metrics::{DatagramReject, Shed, Transport};
use crate::spool::Durable;

/// Maximum number of receives at the end, for datagrams that were sent before it; further datagrams are dropped.
const LAST_BATCHES_MAX: usize = 1_000;
/// Time after which a failed receive is tried again.
const RECEIVE_PAUSE: Duration = Duration::from_millis(50);
/// Maximum number of bytes of a body that cannot have too many events: the shortest event has one byte, and one separates two.
const BODY_BYTES_SAFE: u32 = 20_000;
const _: () = assert!(BODY_BYTES_SAFE as usize == 2 * ELEMENTS_MAX, "no body of that size has more events");

/// The parts of a socket's thread.
#[derive(Debug)]
pub struct Receiver {
    number: usize,
    responder: Arc<Responder>,
    service: Arc<IngestService>,
    trust: Arc<Trust>,
    fingerprints: Fingerprints,
    /// All rights, for the merchants that are served.
    everyone: Grant,
}

/// The datagrams of one receive.
struct Batch<'d> {
    reading: Reading<'d>,
    permit: MemoryPermit,
    bytes: usize,
    pending: Vec<PendingRequest>,
    now: Instant,
}

impl Batch<'_> {
    /// Takes memory for a body; `false` if there is not enough.
    fn hold(&mut self, body_bytes: usize) -> bool {
        let fits = self.permit.hold(self.bytes + body_bytes);
        if fits {
            self.bytes += body_bytes;
        }
        fits
    }

    /// Keeps the request, if its sender asked for an answer, until the batch of events is durable.
    fn wait(&mut self, answer: &Answer, request: Option<Request>) {
        if let Some(request) = request {
            self.pending.push(PendingRequest::new(request, answer, self.now));
        }
    }
}

impl Receiver {
    /// A receiver for the socket of this number, of an ingest service. All sockets share the signatures.
    #[must_use]
    pub fn new(
        number: usize,
        socket: Socket,
        service: Arc<IngestService>,
        trust: Arc<Trust>,
        signatures: Arc<Signatures>,
    ) -> Self {
        let responder = Arc::new(Responder::new(socket, Arc::clone(&service), signatures));
        Self { number, responder, service, trust, fingerprints: Fingerprints::default(), everyone: Grant::everything() }
    }

    /// Receives until it is asked to stop; then it also takes what is in the socket already.
    pub fn run(self, stop: &AtomicBool) {
        // It holds pointers of the kernel and so stays on this thread.
        let mut inbox = Inbox::new();
        let mut drops = 0;
        while !stop.load(Ordering::Acquire) {
            match inbox.receive(&self.responder.socket, true) {
                Ok(()) => self.receive(&inbox),
                Err(error) if is_nothing(&error) => {}
                Err(error) => {
                    warn!(%error, "a datagram was not received");
                    std::thread::sleep(RECEIVE_PAUSE);
                }
            }
            self.service.metrics.udp.kernel_drops.inc_by(u64::from(inbox.drops().wrapping_sub(drops)));
            drops = inbox.drops();
        }
        for _ in 0..LAST_BATCHES_MAX {
            if inbox.receive(&self.responder.socket, false).is_err() {
                break;
            }
            self.receive(&inbox);
        }
    }

    /// Takes the datagrams of one receive.
    fn receive(&self, inbox: &Inbox) {
        self.service.metrics.udp.datagrams.inc_by(inbox.len() as u64);
        let merchants = self.service.served.merchants();
        let everyone = Sender { grant: &self.everyone, merchants: &merchants };
        let mut batch = self.new_batch(Instant::now());
        for (datagram, from) in inbox.datagrams() {
            match datagram::json(datagram) {
                Some(text) => self.json(&mut batch, (datagram.len(), text), from, everyone),
                None => self.coap(&mut batch, datagram, from, everyone),
            }
        }
        self.submit(batch);
    }

    fn batcher(&self) -> &Batcher {
        &self.service.batchers[self.number % self.service.batchers.len()]
    }

    fn new_batch(&self, now: Instant) -> Batch<'_> {
        let metrics = &self.service.metrics;
        Batch {
            reading: Reading::new(metrics, &self.service.limiter, self.batcher(), Transport::Udp),
            permit: MemoryPermit::new(&self.service.memory, None),
            bytes: 0,
            pending: Vec::new(),
            now,
        }
    }

    /// Gives what was read to the batcher; the requests that wait are answered once it is durable.
    fn submit(&self, batch: Batch<'_>) {
        let Batch { reading, permit, pending, .. } = batch;
        let batch = reading.into_batch();
        if batch.events() == 0 {
            assert!(pending.is_empty(), "a request that waits has sent events");
            return;
        }
        let responder = Arc::clone(&self.responder);
        let on_result = move |result: Result<Durable, AppendError>| {
            pending.iter().for_each(|request| responder.conclude(request, result));
            drop(permit);
        };
        self.batcher().submit_with(batch, Box::new(on_result));
    }

    /// Reads events that get no answer: the text of a datagram, and the datagram's number of bytes.
    fn json(&self, batch: &mut Batch<'_>, (bytes, text): (usize, &[u8]), from: SocketAddr, everyone: Sender<'_>) {
        if !self.trust.contains(from.ip()) {
            return self.service.metrics.udp.refuse(DatagramReject::Unauthenticated);
        }
        if !batch.hold(bytes) {
            return self.shed_busy();
        }
        if batch.reading.body(text, shape(text), everyone).is_err() {
            self.service.metrics.udp.refuse(DatagramReject::TooLarge);
        }
    }

    fn coap(&self, batch: &mut Batch<'_>, datagram: &[u8], from: SocketAddr, everyone: Sender<'_>) {
        let udp = &self.service.metrics.udp;
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
        if let Err(Refusal { reject: DatagramReject::Unauthenticated, .. }) = grant
            && !is_trusted
        {
            return udp.refuse(DatagramReject::Unauthenticated);
        }
        // From here on the sender may get an answer.
        let key = || self.fingerprints.key(from, message.id, datagram);
        let is_confirmable = message.kind == Kind::Confirmable;
        let request = is_confirmable.then(|| Request::new(&message, key(), datagram.len()));
        if let Some(request) = &request {
            let mut exchanges = self.responder.exchanges();
            match exchanges.begin(request.key, batch.now) {
                Begun::New => {}
                Begun::TooMany => {
                    // To answer means to lock the exchanges again.
                    drop(exchanges);
                    self.shed_busy();
                    let text = "too many of your requests are in flight; send fewer at a time";
                    return self.responder.answer(request, batch.now, too_many_requests(text, Duration::ZERO));
                }
                Begun::InFlight => return udp.retransmissions.inc(),
                Begun::Answered(answer) => {
                    udp.retransmissions.inc();
                    udp.answers.with_label_values(&[&Code(answer[1]).to_string()]).inc();
                    return self.responder.socket.send(answer, from);
                }
            }
        }
        let refusal = match grant.and_then(|grant| check(&message).map(|()| grant)) {
            Ok(None) => return self.take(batch, &message, everyone, request),
            Ok(Some(grant)) => {
                // A signature is remembered also where its sender waits for no answer.
                let request = request.unwrap_or_else(|| Request::new(&message, key(), datagram.len()));
                return self.take_once(batch.now, &message, &grant, request);
            }
            Err(refusal) => refusal,
        };
        udp.refuse(refusal.reject);
        self.answer(request.as_ref(), batch.now, Reply::new(refusal.code, Body::Diagnostic(refusal.text)));
    }

    /// The grant of the sender of a request; `None` is everything.
    fn grant(&self, message: &Message<'_>, is_trusted: bool) -> Result<Option<Grant>, Refusal> {
        let [key, time, signature] = ["k", "t", "s"].map(|name| message.query(name));
        let Some(keys) = self.service.keys.as_ref().filter(|_| [key, time, signature] != [None; 3]) else {
            return if is_trusted { Ok(None) } else { Err(Refusal::unauthenticated("")) };
        };
        let (Some(key), Some(time), Some(signature)) = (key.and_then(text), time.and_then(text), signature) else {
            return Err(Refusal::unauthenticated("a signature wants k=, t= and s="));
        };
        let now_s = u64::try_from(now_ms() / 1000).unwrap_or(0);
        let is_near = time.parse::<u64>().is_ok_and(|time| time.abs_diff(now_s) <= TIME_OFF_MAX_S);
        if !is_near {
            return Err(Refusal::unauthenticated("t is more than 5 minutes off, or no time in seconds"));
        }
        let signed = Signed { key, time, signature, payload: message.payload };
        let grant = keys.signed(signed, Scope::Ingest).map_err(|unsigned| match unsigned {
            SignatureError::Wrong => Refusal::unauthenticated("the key is not known, or the signature is not right"),
            SignatureError::Scope => Refusal::forbidden("the key has no scope ingest"),
        })?;
        if grant.has_no_merchant(&self.service.served) {
            return Err(Refusal::forbidden("the key is of no merchant that is served here"));
        }
        Ok(Some(grant))
    }

    /// Takes a signed request, unless its signature was received before: then its sender gets the first answer again.
    fn take_once(&self, now: Instant, message: &Message<'_>, grant: &Grant, mut request: Request) {
        let signature = message.query("s").and_then(|signature| Signature::try_from(signature).ok());
        let signature = signature.expect("a signature that was right");
        match self.responder.signatures.begin(signature, now) {
            Seen::New => {
                request.signature = Some(signature);
                self.take_signed(now, message, grant, Some(request));
            }
            // This exchange must be new when its sender asks again, and then gets the answer to the first request.
            Seen::InFlight => {
                self.service.metrics.udp.retransmissions.inc();
                self.responder.exchanges().cancel(request.key, now);
            }
            Seen::Answered(first) => {
                self.service.metrics.udp.retransmissions.inc();
                request.format = first.format;
                self.answer(Some(&request), now, first.reply());
            }
        }
    }

    /// Takes the events of a request whose sender has a key, as a batch of their own: beyond a quota all are refused.
    fn take_signed(&self, now: Instant, message: &Message<'_>, grant: &Grant, request: Option<Request>) {
        if let Err(wait) = grant.check_quota(now) {
            self.service.metrics.received.inc();
            self.service.metrics.shed(Shed::Quota, 1);
            let reply = too_many_requests("the quota of the key is used up; send it again later", wait);
            return self.answer(request.as_ref(), now, reply);
        }
        let own = grant.merchants(&self.service.served);
        let mut batch = self.new_batch(now);
        let Some(body) = self.read(&mut batch, message, Sender { grant, merchants: &own }, request.as_ref()) else {
            return;
        };
        let events = body.answer.accepted;
        if let Err((_, wait)) = grant.take_quotas(now, events, &body.of_merchants) {
            self.service.metrics.shed(Shed::Quota, events);
            self.batcher().discard(batch.reading.into_batch());
            let reply = too_many_requests("the quota of the merchant is used up; send it again later", wait);
            return self.answer(request.as_ref(), now, reply);
        }
        batch.wait(&body.answer, request);
        self.submit(batch);
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
            self.shed_busy();
            let soon = 1 + now_ms().unsigned_abs() as u32 % 3;
            self.answer(request, batch.now, busy("too many bytes are in flight; send it again", soon));
            return None;
        }
        let text = datagram::text(message.payload);
        let Ok(body) = batch.reading.body(text, shape(text), sender) else {
            self.service.metrics.udp.refuse(DatagramReject::TooLarge);
            let text = Body::Diagnostic("too many events; send several requests");
            let reply = Reply { size1: Some(BODY_BYTES_SAFE), ..Reply::new(Code::TOO_LARGE, text) };
            self.answer(request, batch.now, reply);
            return None;
        };
        if body.answer.accepted == 0 {
            let error = body.answer.first_error();
            let reply = match body.answer.turned_away {
                0 => Reply::new(Code::BAD_REQUEST, Body::Diagnostic(error)),
                _ => too_many_requests(error, Duration::ZERO),
            };
            self.answer(request, batch.now, reply);
            return None;
        }
        Some(body)
    }

    /// Rejects a message that is no request, if its sender waits for that and is trusted: a ping, or a confirmable message that
    /// is malformed or of a class other than requests (RFC 7252, sections 4.2 and 4.3).
    fn reset(&self, datagram: &[u8], from: SocketAddr, is_trusted: bool) {
        if let Some(id) = Message::confirmable_id(datagram).filter(|_| is_trusted) {
            let [high, low] = id.to_be_bytes();
            self.responder.socket.send(&[1 << 6 | (Kind::Reset as u8) << 4, 0, high, low], from);
        }
    }

    /// Answers the sender, if it asked for an answer.
    fn answer(&self, request: Option<&Request>, began: Instant, reply: Reply<'_>) {
        if let Some(request) = request {
            self.responder.answer(request, began, reply);
        }
    }

    /// Refuses a datagram that was not read; it counts as one event.
    fn shed_busy(&self) {
        self.service.metrics.received.inc();
        self.service.metrics.shed(Shed::Busy, 1);
    }
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
