//! One connection's work: send what is due until it is accepted, the same bytes each time.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;

use super::events::{Load, Traffic};
use super::results::Probes;
use super::schedule::{Schedule, Slot, Stopwatch};
use super::server::http::{Answer, Broken, Connection};
use super::tally::{Board, Times};

pub(super) const PATH: &str = "/v1/events";
/// A server that says nothing is asked again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// However long a server would have us wait.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(10);
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
const RECONNECT_AFTER_MAX: Duration = Duration::from_secs(1);

/// What all connections share.
pub(super) struct Run {
    pub(super) traffic: Traffic,
    pub(super) schedule: Schedule,
    pub(super) watch: Arc<Stopwatch>,
    pub(super) board: Arc<Board>,
    pub(super) probes: Arc<Probes>,
    pub(super) retry_for_ns: u64,
}

/// What an answer means for the request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accepted { spooled: bool },
    Refused { accepted: u64, rejected: u64, told: String },
    Again { why: Why, after: Duration, told: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
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

/// Sends until nothing more is due or the run is stopped.
pub(super) async fn sender(run: Arc<Run>, mut connection: Connection) {
    while let Some(slot) = run.schedule.next(&run.watch).await {
        if run.board.stopped() {
            break;
        }
        let load = run.traffic.request(slot.index);
        deliver(&run, &mut connection, slot, load).await;
    }
}

async fn deliver(run: &Run, connection: &mut Connection, slot: Slot, load: Load) {
    let events = load.made.events();
    let media = if events == 1 { "application/json" } else { "application/x-ndjson" };
    let first_sent_ns = run.watch.ns();
    run.board.tally().sent += events;
    for attempt in 0.. {
        let answer = connection.post(PATH, media, load.body.clone()).await;
        let answered_ns = run.watch.ns();
        match judge(answer, events, attempt) {
            Verdict::Accepted { spooled } => {
                let times = Times { due_ns: slot.due_ns, first_sent_ns, answered_ns };
                run.board.accepted(load.made, spooled, times);
                load.asks.into_iter().for_each(|ask| run.probes.ask(ask, slot.due_ns));
                return;
            }
            Verdict::Refused { accepted, rejected, told } => {
                let mut tally = run.board.tally();
                tally.accepted += accepted;
                tally.rejected += rejected;
                drop(tally);
                return run.board.fail(told);
            }
            Verdict::Again { why, after, told } => {
                count(&run.board, why);
                let over = answered_ns.saturating_sub(first_sent_ns) >= run.retry_for_ns;
                if over || run.board.stopped() {
                    run.board.tally().lost += events;
                    return run.board.fail(format!(
                        "a request was given up after {attempt} retries; the last: {told}. See the server, or raise --retry-for"
                    ));
                }
                tokio::time::sleep(after).await;
                run.board.tally().resent += events;
            }
        }
    }
}

fn count(board: &Board, why: Why) {
    let mut tally = board.tally();
    match why {
        Why::Shed => tally.shed_requests += 1,
        Why::Failed => tally.failed_requests += 1,
        Why::Broken => tally.broken_requests += 1,
    }
}

fn judge(answer: Result<Answer, Broken>, events: u64, attempt: u32) -> Verdict {
    let answer = match answer {
        Ok(answer) => answer,
        Err(broken) => {
            return Verdict::Again { why: Why::Broken, after: reconnect_after(attempt), told: broken.to_string() };
        }
    };
    let status = answer.status;
    let again = |why| Verdict::Again {
        why,
        after: answer.retry_after.unwrap_or(AGAIN_AFTER).min(AGAIN_AFTER_MAX),
        told: format!("POST {PATH} was answered {status}: {}", answer.excerpt()),
    };
    match status {
        StatusCode::ACCEPTED => receipt(&answer, events),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => again(Why::Shed),
        StatusCode::REQUEST_TIMEOUT => again(Why::Failed),
        _ if status.is_server_error() => again(Why::Failed),
        _ => Verdict::Refused {
            accepted: 0,
            rejected: events,
            told: format!(
                "POST {PATH} was answered {status}: {}. The fault is in what is sent: see --merchant, --key, --batch, and the server's rules",
                answer.excerpt()
            ),
        },
    }
}

/// A 202 must speak of every event that was sent.
fn receipt(answer: &Answer, events: u64) -> Verdict {
    let refused = |accepted, told| Verdict::Refused { accepted, rejected: events.saturating_sub(accepted), told };
    let Ok(receipt) = serde_json::from_slice::<Receipt>(&answer.body) else {
        return refused(
            0,
            format!("POST {PATH} was answered 202 with a body that is no receipt: {}", answer.excerpt()),
        );
    };
    match receipt.rejected.first() {
        Some(Rejected { index, error }) => refused(
            receipt.accepted,
            format!("POST {PATH}: event {index} of a request was rejected: {error}. See the server's rules"),
        ),
        None if receipt.accepted == events => Verdict::Accepted { spooled: receipt.durable == "spool" },
        None => {
            let told = format!(
                "POST {PATH} was answered 202 for {events} events, but the receipt is for {}: the server lost count",
                receipt.accepted
            );
            refused(receipt.accepted, told)
        }
    }
}

/// At once the first time: the server may only have closed an idle connection.
fn reconnect_after(attempt: u32) -> Duration {
    match attempt.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => RECONNECT_AFTER.saturating_mul(1 << doublings.min(16)).min(RECONNECT_AFTER_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, retry_after: Option<u64>, body: &'static str) -> Verdict {
        let status = StatusCode::from_u16(status).expect("a status");
        let retry_after = retry_after.map(Duration::from_secs);
        judge(Ok(Answer { status, retry_after, body: body.into() }), 2, 0)
    }

    #[test]
    fn only_a_full_receipt_is_acceptance() {
        let receipt = |body| answered(202, None, body);
        assert_eq!(receipt(r#"{"accepted":2,"durable":"log","rejected":[]}"#), Verdict::Accepted { spooled: false });
        assert_eq!(receipt(r#"{"accepted":2,"durable":"spool"}"#), Verdict::Accepted { spooled: true });
        for (body, accepted, part) in [
            (r#"{"accepted":1,"rejected":[{"index":1,"field":"code","error":"code is empty"}]}"#, 1, "code is empty"),
            (r#"{"accepted":1,"durable":"log","rejected":[]}"#, 1, "lost count"),
            (r#"{"accepted":3,"durable":"log","rejected":[]}"#, 3, "lost count"),
            ("ok", 0, "no receipt"),
        ] {
            let Verdict::Refused { accepted: found, told, .. } = receipt(body) else { panic!("{body}") };
            assert_eq!(found, accepted, "{body}");
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn what_is_tried_again_and_when() {
        let again = |status, retry_after| match answered(status, retry_after, "") {
            Verdict::Again { why, after, .. } => Some((why, after.as_secs())),
            Verdict::Accepted { .. } | Verdict::Refused { .. } => None,
        };
        assert_eq!(again(503, Some(3)), Some((Why::Shed, 3)));
        assert_eq!(again(429, None), Some((Why::Shed, 1)));
        assert_eq!(again(503, Some(86_400)), Some((Why::Shed, 10)));
        assert_eq!(again(500, None), Some((Why::Failed, 1)));
        for status in [200, 400, 401, 403, 404, 413, 415] {
            assert_eq!(again(status, None), None, "{status}");
        }
        let waits: Vec<u128> = [0, 1, 2, 3, 4, 5, 99].map(|n| reconnect_after(n).as_millis()).into();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1_000, 1_000]);
    }
}
