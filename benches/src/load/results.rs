//! Measures the time until the result of a scan can be read: from the due time of its event to the first answer that is not
//! pending.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::schedule::Stopwatch;
use super::server::http::Connection;
use super::tally::Board;
use super::traffic::Ask;

/// Maximum wait of one request at the server, ms; after it, the server answers that the result is pending.
pub(super) const WAIT_MS: u64 = 2_000;
/// Maximum time until a result; after it, the result counts as pending.
const PENDING_MAX: Duration = Duration::from_secs(15);
/// Pause between two requests for one result.
const PAUSE: Duration = Duration::from_millis(10);
/// Pause after a request that was shed or had no answer.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// A fixed number of connections, so that requests for results neither delay sending nor queue. If none is free, the result is
/// skipped.
pub(super) struct Probes {
    idle: Mutex<Vec<Connection>>,
    size: usize,
    /// `merchant=…`, ready for a URL.
    merchant: String,
    watch: Arc<Stopwatch>,
    board: Arc<Board>,
}

#[derive(Deserialize)]
struct Outcome {
    state: String,
    draw: Option<Draw>,
}

#[derive(Deserialize)]
struct Draw {
    #[serde(default)]
    result: String,
}

impl Outcome {
    fn is_readable(&self) -> bool {
        self.state != "pending" && self.draw.as_ref().is_none_or(|draw| draw.result != "pending")
    }
}

/// The outcome of one request for a result.
enum Seen {
    Readable,
    Pending,
    Again,
    Refused(String),
}

impl Probes {
    pub(super) fn new(connections: Vec<Connection>, merchant: &str, watch: Arc<Stopwatch>, board: Arc<Board>) -> Self {
        let merchant = format!("merchant={}", utf8_percent_encode(merchant, NON_ALPHANUMERIC));
        Self { size: connections.len(), idle: Mutex::new(connections), merchant, watch, board }
    }

    /// Asks for the result of an accepted scan in the background.
    pub(super) fn ask(self: &Arc<Self>, ask: Ask, due_ns: u64) {
        let Some(connection) = self.idle.lock().pop() else {
            self.board.tally().results_skipped += 1;
            return;
        };
        let probes = Arc::clone(self);
        tokio::spawn(async move {
            probes.follow(&connection, &ask, due_ns).await;
            probes.idle.lock().push(connection);
        });
    }

    /// Waits for the requests in flight, each of which has a timeout.
    pub(super) async fn settle(&self) {
        while self.idle.lock().len() < self.size {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self, connection: &Connection, ask: &Ask, due_ns: u64) {
        let path = format!("/v1/results/{}?shopper={}&{}&wait={WAIT_MS}", ask.id, ask.shopper, self.merchant);
        let begun_ns = self.watch.ns();
        while Duration::from_nanos(self.watch.ns() - begun_ns) < PENDING_MAX && !self.board.stopped() {
            let pause = match self.look(connection, &path).await {
                Seen::Readable => return self.board.readable(due_ns, self.watch.ns()),
                Seen::Refused(message) => return self.board.fail(message),
                Seen::Pending => PAUSE,
                Seen::Again => AGAIN_AFTER,
            };
            tokio::time::sleep(pause).await;
        }
        self.board.tally().results_pending += 1;
    }

    async fn look(&self, connection: &Connection, path: &str) -> Seen {
        let Ok(answer) = connection.get(path).await else { return Seen::Again };
        let status = answer.status;
        if status == 429 || status >= 500 {
            return Seen::Again;
        }
        match serde_json::from_slice::<Outcome>(&answer.body) {
            Ok(outcome) if status == 200 && outcome.is_readable() => Seen::Readable,
            Ok(_) if status == 200 => Seen::Pending,
            _ => Seen::Refused(format!(
                "GET {path} was answered {status}: {}. Results need the scope `read`; leave --results out to go without",
                answer.excerpt()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_draw_is_no_result() {
        for (body, readable) in [
            (r#"{"id":"1","state":"pending"}"#, false),
            (r#"{"id":"1","state":"counted"}"#, true),
            (r#"{"id":"1","state":"repeat","draw":null}"#, true),
            (r#"{"id":"1","state":"entered","draw":{"campaign":"c","result":"pending"}}"#, false),
            (r#"{"id":"1","state":"entered","draw":{"campaign":"c","result":"thanks"}}"#, true),
        ] {
            let outcome: Outcome = serde_json::from_str(body).expect(body);
            assert_eq!(outcome.is_readable(), readable, "{body}");
        }
    }
}
