//! Answers to requests: as soon as their events are durable, or when they are refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eventlog::api::AppendError;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use wire::coap::Code;

use super::exchanges::Exchanges;
use super::reply::{Body, REPLY_BYTES_MAX, Reply, Request};
use super::signatures::Signatures;
use super::socket::Socket;
use crate::ingest::body_reader::{Answer, Row};
use crate::ingest::service::IngestService;
use crate::spool::Durable;

/// Answers the requests that came to one socket. The exchanges are under one lock, for their bounds need their order.
#[derive(Debug)]
pub(super) struct Responder {
    pub(super) socket: Socket,
    service: Arc<IngestService>,
    exchanges: Mutex<Exchanges>,
    pub(super) signatures: Arc<Signatures>,
}

/// A request that is answered when its batch of events is durable.
#[derive(Debug)]
pub(super) struct PendingRequest {
    request: Request,
    began: Instant,
    /// The report if not all of it was accepted; else empty.
    report: Vec<u8>,
}

impl PendingRequest {
    pub(super) fn new(request: Request, answer: &Answer, began: Instant) -> Self {
        Self { report: report(answer, &request), request, began }
    }
}

impl Responder {
    pub(super) fn new(socket: Socket, service: Arc<IngestService>, signatures: Arc<Signatures>) -> Self {
        Self { socket, service, exchanges: Mutex::default(), signatures }
    }

    pub(super) fn exchanges(&self) -> MutexGuard<'_, Exchanges> {
        self.exchanges.lock()
    }

    /// Answers a request whose batch of events is durable, or refused.
    pub(super) fn conclude(&self, pending: &PendingRequest, result: Result<Durable, AppendError>) {
        let reply = match result {
            Ok(_) if pending.report.is_empty() => Reply::new(Code::CHANGED, Body::Nothing),
            Ok(_) => Reply::new(Code::CHANGED, Body::Content(&pending.report)),
            Err(AppendError::Full) => busy("the log has no room; send it again", 5),
            Err(AppendError::TooLarge) => {
                Reply::new(Code::TOO_LARGE, Body::Diagnostic("an event is larger than the log takes"))
            }
            Err(AppendError::Failed | AppendError::Closed) => busy("the log takes nothing now; send it again", 2),
        };
        if result.is_ok() {
            self.service.metrics.ack_seconds.observe(pending.began.elapsed().as_secs_f64());
        }
        self.answer(&pending.request, pending.began, reply);
    }

    /// Answers a request whose exchange began at `began`, and remembers the answer.
    pub(super) fn answer(&self, request: &Request, began: Instant, reply: Reply<'_>) {
        if let Some(signature) = &request.signature {
            self.signatures.end(signature, request.format, reply);
        }
        if !request.is_confirmable {
            return;
        }
        let mut buffer = [0; REPLY_BYTES_MAX];
        let answer = request.answer(reply, &mut buffer);
        self.exchanges().end(request.key, began, answer);
        self.service.metrics.udp.answers.with_label_values(&[&reply.code.to_string()]).inc();
        self.socket.send(answer, request.key.0);
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
fn report(answer: &Answer, request: &Request) -> Vec<u8> {
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

/// The answer to a sender that must send less, or later.
pub(super) fn too_many_requests(text: &str, wait: Duration) -> Reply<'_> {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX - 1) + 1;
    Reply { max_age_s: Some(seconds), ..Reply::new(Code::TOO_MANY_REQUESTS, Body::Diagnostic(text)) }
}

/// The answer to a sender that may send the same again after some seconds.
pub(super) fn busy(text: &str, max_age_s: u32) -> Reply<'_> {
    Reply { max_age_s: Some(max_age_s), ..Reply::new(Code::UNAVAILABLE, Body::Diagnostic(text)) }
}
