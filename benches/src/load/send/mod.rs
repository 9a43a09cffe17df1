//! Sends due requests, and retries each with the same bytes until it is accepted.
//!
//! - [`coap`]: a client of CoAP; [`datagrams`]: datagrams without answers
//! - [`verdict`]: the meaning of an answer

pub(super) mod coap;
pub(super) mod datagrams;
pub(super) mod verdict;

use std::sync::Arc;

use super::results::Probes;
use super::schedule::{Schedule, Slot, Stopwatch};
use super::server::http;
use super::tally::{Board, Times};
use super::traffic::{Load, Traffic};
use verdict::{Reply, Status, Verdict, Why, judge};

const PATH: &str = "/v1/events";

/// The state that all connections share.
pub(super) struct Run {
    pub(super) traffic: Traffic,
    pub(super) schedule: Schedule,
    pub(super) watch: Arc<Stopwatch>,
    pub(super) board: Arc<Board>,
    pub(super) probes: Arc<Probes>,
    pub(super) retry_for_ns: u64,
}

/// A connection to a server that answers; clones share it.
#[derive(Clone)]
pub(super) enum Way {
    Http(http::Connection),
    Coap(coap::Client),
}

impl Way {
    async fn post(&self, load: &Load) -> Result<Reply, String> {
        match self {
            Self::Http(connection) => {
                let answer = connection.post(PATH, load.media, &load.headers, &load.body).await;
                let http::Answer { status, retry_after, body } = answer.map_err(|broken| broken.to_string())?;
                Ok(Reply { status: Status::Http(status), again_after: retry_after, body })
            }
            Self::Coap(client) => client.post(&load.body).await,
        }
    }

    /// The number of messages that were sent again.
    pub(super) fn retransmissions(&self) -> u64 {
        match self {
            Self::Http(_) => 0,
            Self::Coap(client) => client.retransmissions(),
        }
    }
}

/// Sends until the schedule ends or the run is stopped.
pub(super) async fn sender(run: Arc<Run>, way: Way) {
    while let Some(slot) = run.schedule.next(&run.watch).await {
        if run.board.stopped() {
            break;
        }
        deliver(&run, &way, slot).await;
    }
}

async fn deliver(run: &Run, way: &Way, slot: Slot) {
    let load = run.traffic.request(slot.index);
    let events = load.made.events();
    let first_sent_ns = run.watch.ns();
    run.board.tally().sent += events;
    for attempt in 0.. {
        let last_sent_ns = run.watch.ns();
        let reply = way.post(&load).await;
        let answered_ns = run.watch.ns();
        let status = reply.as_ref().map_or(Status::Broken, |reply| reply.status);
        match judge(reply, events, attempt) {
            Verdict::Accepted { spooled } => {
                let times = Times { due_ns: slot.due_ns, first_sent_ns, last_sent_ns, answered_ns };
                run.board.accepted(status, load.made, spooled, times);
                load.asks.into_iter().for_each(|ask| run.probes.ask(ask, slot.due_ns));
                return;
            }
            Verdict::Refused { accepted, rejected, message } => {
                let mut tally = run.board.tally();
                *tally.answers.entry(status).or_default() += 1;
                tally.accepted += accepted;
                tally.rejected += rejected;
                drop(tally);
                return run.board.fail(message);
            }
            Verdict::Again { why, after, message } => {
                count(&run.board, status, why);
                let over = answered_ns.saturating_sub(first_sent_ns) >= run.retry_for_ns;
                if over || run.board.stopped() {
                    run.board.tally().lost += events;
                    return run.board.fail(format!(
                        "a request was given up after {attempt} retries; the last: {message}. See the server, or raise --retry-for"
                    ));
                }
                tokio::time::sleep(after).await;
                run.board.tally().resent += events;
            }
        }
    }
}

fn count(board: &Board, status: Status, why: Why) {
    let mut tally = board.tally();
    *tally.answers.entry(status).or_default() += 1;
    match why {
        Why::Shed => tally.shed_requests += 1,
        Why::Failed => tally.failed_requests += 1,
        Why::Broken => tally.broken_requests += 1,
    }
}
