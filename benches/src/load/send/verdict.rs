//! The meaning of an answer for its request.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use wire::coap::Code;

use crate::load::server::http::excerpt;

/// Wait before a retry, if the answer names none.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Maximum wait before a retry, even if the answer names a longer one.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(10);
/// Wait before the second reconnection; each further wait is twice as long.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
/// Maximum wait before a reconnection.
const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(1);

/// An answer of any transport.
#[derive(Debug)]
pub(in crate::load) struct Reply {
    pub(in crate::load) status: Status,
    /// Retry-After, or Max-Age.
    pub(in crate::load) again_after: Option<Duration>,
    pub(in crate::load) body: Vec<u8>,
}

const CHANGED: u8 = Code::CHANGED.0;
const TOO_MANY_REQUESTS: u8 = Code::TOO_MANY_REQUESTS.0;
const UNAVAILABLE: u8 = Code::UNAVAILABLE.0;
/// The first code of class 5.
const SERVER_ERROR: u8 = 5 << 5;

/// The status of an answer, in its protocol's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::load) enum Status {
    Http(u16),
    /// Class and detail (RFC 7252, section 3).
    Coap(u8),
    /// No answer.
    Broken,
}

enum Meaning {
    Accepted,
    Shed,
    Failed,
    Refused,
}

impl Status {
    fn meaning(self) -> Meaning {
        match self {
            Self::Http(202) | Self::Coap(CHANGED) => Meaning::Accepted,
            Self::Http(429 | 503) | Self::Coap(TOO_MANY_REQUESTS | UNAVAILABLE) => Meaning::Shed,
            Self::Http(408 | 500..) | Self::Coap(SERVER_ERROR..) | Self::Broken => Meaning::Failed,
            Self::Http(_) | Self::Coap(_) => Meaning::Refused,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => write!(f, "{status}"),
            Self::Coap(code) => Code(*code).fmt(f),
            Self::Broken => f.write_str("none"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted { spooled: bool },
    Refused { accepted: u64, rejected: u64, message: String },
    Again { why: Why, after: Duration, message: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Shed,
    Failed,
    Broken,
}

/// The body of a 202 or 400 (contract section 9).
#[derive(Deserialize)]
struct Receipt {
    accepted: u64,
    #[serde(default)]
    durable: String,
    #[serde(default)]
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Rejected {
    #[serde(default)]
    index: u64,
    #[serde(default)]
    error: String,
}

/// Decides what the answer to an attempt, or its absence, means.
pub(super) fn judge(reply: Result<Reply, String>, events: u64, attempt: u32) -> Verdict {
    let reply = match reply {
        Ok(reply) => reply,
        Err(message) => return Verdict::Again { why: Why::Broken, after: reconnect_after(attempt), message },
    };
    let message = || format!("a request was answered {}: {}", reply.status, excerpt(&reply.body));
    let again = |why| Verdict::Again {
        why,
        after: reply.again_after.unwrap_or(AGAIN_AFTER).min(AGAIN_AFTER_MAX),
        message: message(),
    };
    match reply.status.meaning() {
        Meaning::Accepted => receipt(&reply, events),
        Meaning::Shed => again(Why::Shed),
        Meaning::Failed => again(Why::Failed),
        Meaning::Refused => Verdict::Refused {
            accepted: 0,
            rejected: events,
            message: format!(
                "{}. The request is wrong: check --merchant, --key, --batch, and the server's rules",
                message()
            ),
        },
    }
}

/// Reads a receipt, which must count every event that was sent; in CoAP an empty body counts all.
fn receipt(reply: &Reply, events: u64) -> Verdict {
    let refused = |accepted, message| Verdict::Refused { accepted, rejected: events.saturating_sub(accepted), message };
    let Reply { status, body, .. } = reply;
    if matches!(status, Status::Coap(_)) && body.is_empty() {
        return Verdict::Accepted { spooled: false };
    }
    let Ok(receipt) = serde_json::from_slice::<Receipt>(body) else {
        return refused(
            0,
            format!("a request was answered {status} with a body that is no receipt: {}", excerpt(body)),
        );
    };
    match receipt.rejected.first() {
        Some(Rejected { index, error }) => refused(
            receipt.accepted,
            format!("event {index} of a request was rejected: {error}. See the server's rules"),
        ),
        None if receipt.accepted == events => Verdict::Accepted { spooled: receipt.durable == "spool" },
        None => {
            let message = format!(
                "a request was answered {status} for {events} events, but the receipt is for {}: the server lost count",
                receipt.accepted
            );
            refused(receipt.accepted, message)
        }
    }
}

/// The wait before a reconnection: none the first time, because the server may have closed an idle connection.
fn reconnect_after(attempt: u32) -> Duration {
    match attempt.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => RECONNECT_AFTER.saturating_mul(1 << doublings.min(16)).min(RECONNECT_AFTER_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: Status, again_after: Option<u64>, body: &str) -> Verdict {
        let again_after = again_after.map(Duration::from_secs);
        judge(Ok(Reply { status, again_after, body: body.into() }), 2, 0)
    }

    #[test]
    fn only_a_full_receipt_is_accepted() {
        let receipt = |body| answered(Status::Http(202), None, body);
        assert_eq!(receipt(r#"{"accepted":2,"durable":"log","rejected":[]}"#), Verdict::Accepted { spooled: false });
        assert_eq!(receipt(r#"{"accepted":2,"durable":"spool"}"#), Verdict::Accepted { spooled: true });
        assert_eq!(answered(Status::Coap(CHANGED), None, ""), Verdict::Accepted { spooled: false });
        for (body, accepted, part) in [
            (r#"{"accepted":1,"rejected":[{"index":1,"field":"code","error":"code is empty"}]}"#, 1, "code is empty"),
            (r#"{"accepted":1,"durable":"log","rejected":[]}"#, 1, "lost count"),
            (r#"{"accepted":3,"durable":"log","rejected":[]}"#, 3, "lost count"),
            ("ok", 0, "no receipt"),
            ("", 0, "no receipt"),
        ] {
            let Verdict::Refused { accepted: found, message, .. } = receipt(body) else { panic!("{body}") };
            assert_eq!(found, accepted, "{body}");
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn retries_depend_on_status_and_wait() {
        let again = |status, again_after| match answered(status, again_after, "") {
            Verdict::Again { why, after, .. } => Some((why, after.as_secs())),
            Verdict::Accepted { .. } | Verdict::Refused { .. } => None,
        };
        assert_eq!(again(Status::Http(503), Some(3)), Some((Why::Shed, 3)));
        assert_eq!(again(Status::Http(429), None), Some((Why::Shed, 1)));
        assert_eq!(again(Status::Http(503), Some(86_400)), Some((Why::Shed, 10)));
        assert_eq!(again(Status::Http(500), None), Some((Why::Failed, 1)));
        for (code, why) in [("4.29", Why::Shed), ("5.03", Why::Shed), ("5.00", Why::Failed)] {
            let status = (0..=255).map(Status::Coap).find(|status| status.to_string() == code).expect(code);
            assert_eq!(again(status, Some(2)), Some((why, 2)), "{code}");
        }
        for status in [200, 400, 401, 403, 404, 413, 415] {
            assert_eq!(again(Status::Http(status), None), None, "{status}");
        }
        assert_eq!(again(Status::Coap(Code::BAD_REQUEST.0), None), None, "4.00");
        let waits: Vec<u128> = [0, 1, 2, 3, 4, 5, 99].map(|n| reconnect_after(n).as_millis()).into();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1_000, 1_000]);
    }
}
