//! Requests that this port does not answer, and why.

use wire::coap::{Code, JSON, Message, number};

use super::reply::Format;
use crate::metrics::DatagramReject;

/// The path that events are sent to.
const PATH: [&str; 2] = ["v1", "events"];

/// Why a request is refused, and what is reported to its sender if it asked for an answer.
pub(super) struct Refusal {
    pub(super) reject: DatagramReject,
    pub(super) code: Code,
    pub(super) text: &'static str,
}

impl Refusal {
    /// The sender is not known, or not the one that it says.
    pub(super) fn unauthenticated(text: &'static str) -> Self {
        Self { reject: DatagramReject::Unauthenticated, code: Code::UNAUTHORIZED, text }
    }

    /// The sender is known, and may not do this.
    pub(super) fn forbidden(text: &'static str) -> Self {
        Self { reject: DatagramReject::Forbidden, code: Code::FORBIDDEN, text }
    }
}

/// Whether a message is a request that this path answers.
pub(super) fn check(message: &Message<'_>) -> Result<(), Refusal> {
    let refuse = |reject, code, text| Err(Refusal { reject, code, text });
    match message.critical_unknown() {
        Some(number::PROXY_URI | number::PROXY_SCHEME) => {
            return refuse(DatagramReject::Option, Code::PROXYING_NOT_SUPPORTED, "this is no proxy");
        }
        Some(_) => return refuse(DatagramReject::Option, Code::BAD_OPTION, "a critical option is not known here"),
        None => {}
    }
    if !message.path_is(&PATH) {
        return refuse(DatagramReject::Path, Code::NOT_FOUND, "there is only /v1/events");
    }
    if message.code != Code::POST {
        return refuse(DatagramReject::Method, Code::METHOD_NOT_ALLOWED, "only POST is taken");
    }
    if message.content_format().is_some_and(|format| format != JSON) {
        return refuse(
            DatagramReject::Format,
            Code::UNSUPPORTED_FORMAT,
            "send JSON: Content-Format 50, or none for NDJSON",
        );
    }
    if Format::of(message).is_none() {
        return refuse(
            DatagramReject::Format,
            Code::NOT_ACCEPTABLE,
            "answers are JSON or CBOR: Accept 50, 60, or none",
        );
    }
    Ok(())
}
